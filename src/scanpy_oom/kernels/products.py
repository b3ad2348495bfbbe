"""Products of a block of rows with dense matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["left_product", "low_rank", "right_product"]


@nb.njit(nogil=True, cache=True)
def right_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    dense: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write block @ dense, `(n_rows, k)`, for a `dense` of `(n_columns, k)`."""
    k = dense.shape[1]
    for i in range(indptr.size - 1):
        for t in range(k):
            out[i, t] = 0.0
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            j = np.uint32(indices[p])
            for t in range(k):
                out[i, t] += x * dense[j, t]


@nb.njit(nogil=True, cache=True)
def left_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    dense: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add block.T @ dense to `out`, `(n_columns, k)`, for a `dense` of `(n_rows, k)`."""
    k = dense.shape[1]
    for i in range(indptr.size - 1):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            j = np.uint32(indices[p])
            for t in range(k):
                out[j, t] += x * dense[i, t]


@nb.njit(nogil=True, cache=True)
def low_rank(rows: NDArray[np.float64], columns: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write rows @ columns, `(n, m)`, for few columns of `rows`.

    Terms are added in their order, so that a row does not depend on how many there are.
    """
    n, k = rows.shape
    m = columns.shape[1]
    for i in range(n):
        for j in range(m):
            out[i, j] = 0.0
        for t in range(k):
            x = rows[i, t]
            for j in range(m):
                out[i, j] += x * columns[t, j]
