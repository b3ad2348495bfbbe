"""Dense tiles in row-compressed form, and their assembly."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from ...jit import njit
from ..arrays.ranges import Runs, element_runs, selected_offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Floats

__all__ = ["Tile", "append_rows", "append_rows_reference", "compress_rows", "compress_rows_reference"]


@njit(nogil=True, cache=True)
def _count_nonzeros(block: Floats, indptr: NDArray[np.int64]) -> None:
    indptr[0] = 0
    for i in range(block.shape[0]):
        n = 0
        for j in range(block.shape[1]):
            n += block[i, j] != 0
        indptr[i + 1] = indptr[i] + n


@njit(nogil=True, cache=True)
def _collect_nonzeros(block: Floats, first_column: int, indices: NDArray[np.int32], data: Floats) -> None:
    at = 0
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            value = block[i, j]
            if value != 0:
                indices[at] = first_column + j
                data[at] = value
                at += 1


@njit(nogil=True, cache=True)
def _append_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: Floats,
    cursor: NDArray[np.int64],
    out_indices: NDArray[np.int32],
    out_data: Floats,
) -> None:
    for i in range(cursor.shape[0]):
        at = cursor[i]
        for k in range(indptr[i], indptr[i + 1]):
            out_indices[at] = indices[k]
            out_data[at] = data[k]
            at += 1
        cursor[i] = at


class Tile(NamedTuple):
    """Some rows and columns, row-compressed."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Floats

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(array.nbytes for array in self)

    def rows(self, runs: Runs) -> Tile:
        """Copy some of the rows."""
        elements = element_runs(runs, self.indptr).numbers()
        return Tile(
            selected_offsets(runs, self.indptr), np.array(self.indices[elements]), np.array(self.data[elements])
        )


def compress_rows(block: Floats, first_column: int) -> Tile:
    """Keep what is not zero of a dense block. NaN is not zero.

    Parameters
    ----------
    block
        float32 or float64 values `(n_rows, n_columns)`, C-contiguous and writable (kernels are compiled for that).
    first_column
        Number of the column with which the block starts.
    """
    indptr = np.empty(block.shape[0] + 1, dtype=np.int64)
    _count_nonzeros(block, indptr)
    indices = np.empty(indptr[-1], dtype=np.int32)
    data = np.empty(indptr[-1], dtype=block.dtype)
    _collect_nonzeros(block, first_column, indices, data)
    return Tile(indptr, indices, data)


def compress_rows_reference(block: Floats, first_column: int) -> Tile:
    """Do what :func:`compress_rows` does, with SciPy."""
    rows = sparse.csr_matrix(block)
    return Tile(rows.indptr.astype(np.int64), rows.indices.astype(np.int32) + np.int32(first_column), rows.data)


def append_rows(tile: Tile, cursor: NDArray[np.int64], out: Tile) -> None:
    """Append the rows of a tile to rows of a larger one.

    Parameters
    ----------
    tile
        The tile.
    cursor
        Where the next value of each row goes in `out`: `(n_rows,)`. Moved past what is appended.
    out
        The larger tile; its `indptr` is not looked at.
    """
    _append_rows(*tile, cursor, out.indices, out.data)


def append_rows_reference(tile: Tile, cursor: NDArray[np.int64], out: Tile) -> None:
    """Do what :func:`append_rows` does, row by row."""
    for i in range(len(cursor)):
        row = slice(tile.indptr[i], tile.indptr[i + 1])
        target = slice(cursor[i], cursor[i] + row.stop - row.start)
        out.indices[target] = tile.indices[row]
        out.data[target] = tile.data[row]
        cursor[i] = target.stop
