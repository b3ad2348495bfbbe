"""How large the matrices of a file are, from its header alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .nodes import is_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from .nodes import GroupNode

__all__ = ["MatrixSize", "matrix_sizes", "tenx_sizes"]


@dataclass(frozen=True, slots=True)
class MatrixSize:
    """Size of one matrix.

    Parameters
    ----------
    name
        Where it is in the file.
    shape
        Rows and columns.
    n_values
        Stored values; of a dense matrix all of them.
    dtype
        Their type.
    is_dense
        Whether it is stored as an array.
    """

    name: str
    shape: tuple[int, int]
    n_values: int
    dtype: np.dtype
    is_dense: bool

    @property
    def nbytes(self) -> int:
        """Bytes in memory, with a column number of 4 bytes for each stored value of a sparse matrix."""
        return self.n_values * (self.dtype.itemsize + (0 if self.is_dense else 4))


def matrix_sizes(root: GroupNode) -> Iterator[MatrixSize]:
    """Yield the sizes of X, of each layer and of X of raw, in a file or store of anndata."""
    names = ["X", *(f"layers/{name}" for name in _keys(root.get("layers"))), "raw/X", "raw.X"]
    for name in names:
        if name in root and (size := _size(name, root[name])) is not None:
            yield size


def tenx_sizes(root: GroupNode) -> Iterator[MatrixSize]:
    """Yield the sizes of the matrices in a file of Cell Ranger, of which the older ones have one a genome."""
    for name in _keys(root):
        group = root[name]
        if not is_array(group) and "data" in group and "shape" in group:
            n_genes, n_cells = (int(n) for n in group["shape"][...])
            yield MatrixSize(name, (n_cells, n_genes), int(group["data"].shape[0]), group["data"].dtype, is_dense=False)


def _keys(group: Any) -> list[str]:
    return [] if group is None or is_array(group) else list(group)


def _size(name: str, node: Any) -> MatrixSize | None:
    """Return the size of a matrix; None if it is stored in a way that is not known."""
    if is_array(node):
        if node.ndim != 2:
            return None
        return MatrixSize(
            name, (node.shape[0], node.shape[1]), node.shape[0] * node.shape[1], node.dtype, is_dense=True
        )
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if shape is None or "data" not in node:
        return None
    return MatrixSize(
        name, (int(shape[0]), int(shape[1])), int(node["data"].shape[0]), node["data"].dtype, is_dense=False
    )
