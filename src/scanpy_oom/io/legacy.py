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
    names = [name for name in ("X", "raw.X") if name in h5] + [f"layers/{name}" for name in h5.get("layers", ())]
    matrices = {name: matrix for name in names if (matrix := load(h5[name])) is not None}
    image = io.BytesIO()
    with h5py.File(image, "w") as copy:
        _copy_without(matrices, h5, copy)
    image.seek(0)
    # The function may have been replaced by one that reads out of memory.
    adata = inspect.unwrap(anndata.io.read_h5ad)(cast("os.PathLike[str]", image))
    for name, matrix in matrices.items():
        if name == "X":
            adata.X = matrix
        elif name == "raw.X":
            adata.raw = _raw(adata, matrix)
        else:
            adata.layers[name.removeprefix("layers/")] = matrix
    return adata


def _copy_without(matrices: dict[str, Any], h5: h5py.File, copy: h5py.File) -> None:
    """Copy a file, with empty matrices in place of the given ones."""
    for name, value in h5.attrs.items():
        copy.attrs[name] = value
    for name in h5:
        if name == "layers":
            copy.create_group(name)
        elif name not in matrices:
            h5.copy(name, copy, expand_refs=True)
    for name in h5.get("layers", ()):
        if f"layers/{name}" not in matrices:
            h5.copy(f"layers/{name}", copy["layers"], expand_refs=True)
    for path, matrix in matrices.items():
        group, _, name = path.rpartition("/")
        anndata.io.write_elem(copy[group or "/"], name, sparse.csr_matrix(matrix.shape, dtype="float32"))


def _raw(adata: anndata.AnnData, matrix: Any) -> anndata.AnnData:
    with warnings.catch_warnings():  # anndata has said what there is to say about these names
        warnings.simplefilter("ignore")
        obs = pd.DataFrame(index=adata.obs_names)
        return anndata.AnnData(matrix, obs=obs, var=adata.raw.var, varm=dict(adata.raw.varm))
