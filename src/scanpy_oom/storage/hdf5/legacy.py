"""Files of anndata before 0.7."""

from __future__ import annotations

import inspect
import io
import warnings
from typing import TYPE_CHECKING, Any, Protocol, cast

import anndata
import h5py
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    import os

__all__ = ["MatrixLoader", "is_legacy", "read_legacy"]


class MatrixLoader(Protocol):
    """Makes what stands for a matrix from the element that holds it."""

    def __call__(self, element: h5py.Group | h5py.Dataset) -> Any:
        """Return it; `None` if it cannot be streamed."""

    def check_shapes(self, n_obs: int, n_vars: int) -> None:
        """Hold the shapes of all that were made against the annotations."""


def is_legacy(h5: h5py.File) -> bool:
    """Return whether a file has the layout of before 0.7: structured arrays for obs and var, raw beside X."""
    return isinstance(h5["obs"], h5py.Dataset) or isinstance(h5["var"], h5py.Dataset) or "raw.X" in h5


def read_legacy(h5: h5py.File, load: MatrixLoader, load_raw: MatrixLoader) -> anndata.AnnData:
    """Read such a file.

    anndata itself reads a copy in memory of all but the matrices, so that what it does for old files need not be
    known here; then the matrices are put in.

    Parameters
    ----------
    h5
        The file.
    load, load_raw
        Make what stands for a matrix, or for that of raw, from the element that holds it.

    Raises
    ------
    CorruptFileError
        If the shape of a matrix is not that of its annotations.
    """
    names = [name for name in ("X", "raw.X") if name in h5] + [f"layers/{name}" for name in h5.get("layers", ())]
    loaded = {name: (load_raw if name == "raw.X" else load)(h5[name]) for name in names}
    matrices = {name: matrix for name, matrix in loaded.items() if matrix is not None}
    load.check_shapes(_length(h5["obs"]), _length(h5["var"]))
    if "raw.var" in h5:
        load_raw.check_shapes(_length(h5["obs"]), _length(h5["raw.var"]))
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


def _length(frame: h5py.Group | h5py.Dataset) -> int:
    """Return the number of rows of obs or var."""
    column = frame[frame.attrs.get("_index", "_index")] if isinstance(frame, h5py.Group) else frame
    return int(column.shape[0])


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


def _raw(adata: anndata.AnnData, matrix: object) -> anndata.AnnData:
    with warnings.catch_warnings():  # anndata has said what there is to say about these names
        warnings.simplefilter("ignore")
        obs = pd.DataFrame(index=adata.obs_names)
        return anndata.AnnData(matrix, obs=obs, var=adata.raw.var, varm=dict(adata.raw.varm))
