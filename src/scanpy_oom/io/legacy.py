"""Files of anndata before 0.7."""

from __future__ import annotations

import inspect
import io
import warnings
from typing import TYPE_CHECKING, Any, cast

import anndata
import h5py
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["is_legacy", "read_legacy"]


def is_legacy(h5: h5py.File) -> bool:
    """Tell whether a file has the layout of before 0.7: structured arrays for obs and var, raw beside X."""
    return isinstance(h5["obs"], h5py.Dataset) or isinstance(h5["var"], h5py.Dataset) or "raw.X" in h5


def read_legacy(h5: h5py.File, load: Callable[[h5py.Group | h5py.Dataset], Any]) -> anndata.AnnData:
    """Read such a file.

    anndata itself reads a copy in memory of all but the matrices, so that what it does for old files need not be
    known here; then the matrices are put in.

    Parameters
    ----------
    h5
        The file.
    load
        Makes what stands for a matrix from the element that holds it; `None` if it cannot be streamed.
    """
    matrices = {name: load(h5[name]) for name in ("X", "raw.X") if name in h5}
    layers = {name: load(element) for name, element in h5.get("layers", {}).items()}
    image = io.BytesIO()
    with h5py.File(image, "w") as copy:
        for name, value in h5.attrs.items():
            copy.attrs[name] = value
        for name in h5:
            if name == "layers":
                continue
            if (matrix := matrices.get(name)) is None:
                h5.copy(name, copy, expand_refs=True)
            else:
                anndata.io.write_elem(copy, name, sparse.csr_matrix(matrix.shape, dtype="float32"))
        for name in layers:
            if layers[name] is None:
                h5.copy(f"layers/{name}", copy.require_group("layers"), expand_refs=True)
    image.seek(0)
    # The function may have been replaced by one that reads out of memory.
    adata = inspect.unwrap(anndata.io.read_h5ad)(cast("os.PathLike[str]", image))
    if matrices.get("X") is not None:
        adata.X = matrices["X"]
    for name, matrix in layers.items():
        if matrix is not None:
            adata.layers[name] = matrix
    if matrices.get("raw.X") is not None:
        adata.raw = _raw(adata, matrices["raw.X"])
    return adata


def _raw(adata: anndata.AnnData, matrix: Any) -> anndata.AnnData:
    with warnings.catch_warnings():  # anndata has said what there is to say about these names
        warnings.simplefilter("ignore")
        obs = pd.DataFrame(index=adata.obs_names)
        return anndata.AnnData(matrix, obs=obs, var=adata.raw.var, varm=dict(adata.raw.varm))
