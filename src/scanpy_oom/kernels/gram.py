"""The Gram matrix of a block of rows, from pairs of non-zeros or with BLAS, whichever is cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["accumulate_gram_dense", "accumulate_gram_pairs", "dense_is_cheaper", "unpack_symmetric"]

SECONDS_PER_PAIR = 1.5e-9
SECONDS_PER_DENSE_CELL = 2e-11
"""Measured on one core: adding a product of two non-zeros, and BLAS by row and cell of the matrix."""

ONE = np.uint64(1)

BAND = 64
"""Rows of the Gram matrix that are filled at a time: 1 MB of 2,000 columns."""

N_DENSE_ROWS = 1024
"""Rows that are densified at a time: enough for BLAS to run at full speed, few enough to stay in cache."""

N_DENSE_COLUMNS = 256
"""Rows of the product that BLAS computes at a time: little is computed twice, and little is held beside the result."""


def dense_is_cheaper(indptr: NDArray[np.int64], n_columns: int) -> bool:
    """Return whether densifying this block costs less time than going through pairs of its non-zeros."""
    counts = np.diff(indptr).astype(np.float64)
    pairs = float((counts * (counts + 1) / 2).sum())
    return pairs * SECONDS_PER_PAIR > counts.size * float(n_columns) ** 2 * SECONDS_PER_DENSE_CELL


@nb.njit(nogil=True, cache=True)
def accumulate_gram_pairs(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    n_columns: int,
    gram: NDArray[np.float64],
) -> None:
    """Add the product of a block's transpose with the block.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed. Rows whose columns increase are visited once a band of the product, so that the
        band stays in cache.
    n_columns
        Columns of the block.
    gram
        `(n_columns * (n_columns + 1) / 2,)`, added to: upper triangle, row by row.
    """
    n_rows = indptr.size - 1
    position = indptr[:-1].copy()
    is_sorted = np.ones(n_rows, dtype=np.bool_)
    for i in range(n_rows):
        for p in range(indptr[i] + 1, indptr[i + 1]):
            if indices[p] <= indices[p - 1]:
                is_sorted[i] = False
                _add_unsorted(indptr[i], indptr[i + 1], indices, values, n_columns, gram)
                break
    for band in range(0, n_columns, BAND):
        end = band + BAND
        for i in range(n_rows):
            stop = np.uint64(indptr[i + 1])
            at = np.uint64(position[i])
            while is_sorted[i] and at < stop and indices[at] < end:
                x = values[at]
                start = _start(indices[at], n_columns)
                for q in range(at, stop):
                    gram[start + np.uint64(indices[q])] += x * values[q]
                at += ONE
            position[i] = at


@nb.njit(nogil=True, cache=True)
def _start(row: int, n: int) -> np.uint64:
    """Return where column 0 of a row of the packed upper triangle would be."""
    j = np.int64(row)
    return np.uint64(j * n - j * (j + 1) // 2)


@nb.njit(nogil=True, cache=True)
def _add_unsorted(
    start: int,
    stop: int,
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    n_columns: int,
    gram: NDArray[np.float64],
) -> None:
    """Add one row whose columns come in any order, perhaps repeated."""
    for p in range(start, stop):
        for q in range(start, stop):
            a, b = indices[p], indices[q]
            if a <= b:
                gram[_start(a, n_columns) + np.uint64(b)] += values[p] * values[q]


@nb.njit(nogil=True, cache=True)
def _scatter(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    start: int,
    stop: int,
    out: NDArray[np.float64],
) -> None:
    out[:] = 0
    for i in range(start, stop):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            out[i - start, np.uint32(indices[p])] += values[p]


@nb.njit(nogil=True, cache=True)
def _add_upper(product: NDArray[np.float64], first: int, n_columns: int, gram: NDArray[np.float64]) -> None:
    for a in range(product.shape[0]):
        start = _start(first + a, n_columns)
        for b in range(a, product.shape[1]):
            gram[start + np.uint64(first + b)] += product[a, b]


def accumulate_gram_dense(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    n_columns: int,
    gram: NDArray[np.float64],
) -> None:
    """Do as :func:`accumulate_gram_pairs` through dense runs of rows and BLAS, some columns at a time."""
    n_rows = indptr.size - 1
    dense = np.empty((min(N_DENSE_ROWS, n_rows), n_columns), dtype=np.float64)
    for start in range(0, n_rows, N_DENSE_ROWS):
        stop = min(start + N_DENSE_ROWS, n_rows)
        run = dense[: stop - start]
        _scatter(indptr, indices, values, start, stop, run)
        for first in range(0, n_columns, N_DENSE_COLUMNS):
            product = run[:, first : first + N_DENSE_COLUMNS].T @ run[:, first:]
            _add_upper(product, first, n_columns, gram)


@nb.njit(nogil=True, cache=True)
def unpack_symmetric(packed: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write the symmetric matrix `(n, n)` whose upper triangle is `packed`, row by row."""
    n = out.shape[0]
    for a in range(n):
        start = _start(a, n)
        for b in range(a, n):
            out[a, b] = packed[start + np.uint64(b)]
            out[b, a] = out[a, b]
