"""Columns that :func:`scanpy.pp.pca` takes, and places of its results, by version of scanpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import _scanpy
from ..._scanpy import SCANPY_1_13, UNSET

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

__all__ = ["column_mask", "result_keys"]


def column_mask(
    adata: AnnData,
    mask_var: object,
    use_highly_variable: bool | None = None,  # noqa: FBT001
    obsm: str | None = None,
    *,
    named_by_preset: bool = True,
) -> tuple[object, np.ndarray | None]:
    """Return the mask as scanpy records it, and its values; `None` twice where all columns are taken.

    Parameters
    ----------
    adata
        The AnnData whose columns are chosen.
    mask_var, use_highly_variable, obsm
        scanpy's arguments. scanpy 1.13 does not have the second.
    named_by_preset
        Whether a mask that was not given is named as ``scanpy.settings.preset`` has it, as `sc.pp.pca` does.
    """
    if not SCANPY_1_13:
        where = {} if obsm is None else {"obsm": obsm}
        given = _scanpy.empty if mask_var is UNSET else mask_var
        return _scanpy.handle_mask_var(adata, given, use_highly_variable=use_highly_variable, **where)
    if _scanpy.is_unset(mask_var):
        mask_var = None
        if "highly_variable" in adata.var:
            mask_var = "var.highly_variable" if named_by_preset and _scanpy.is_second_preset() else "highly_variable"
    elif mask_var is not None and obsm is not None:
        msg = "Argument `mask_var` is incompatible with `obsm`."
        raise ValueError(msg)
    return mask_var, _scanpy.check_mask(adata, mask_var, "var")


def result_keys(key_added: str | None) -> tuple[str, str, str]:
    """Return the keys of coordinates, loadings and all else in `obsm`, `varm` and `uns`."""
    key_added = _scanpy.preset(key_added, "pca", "key_added")
    return ("X_pca", "PCs", "pca") if key_added is None else (key_added,) * 3
