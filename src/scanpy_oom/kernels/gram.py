"""The Gram matrix of a block of rows, from pairs of non-zeros or with BLAS, whichever is cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np
from scipy.linalg import blas

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["accumulate_gram_dense", "accumulate_gram_pairs", "dense_is_cheaper"]

SECONDS_PER_PAIR = 1.5e-9
SECONDS_PER_DENSE_CELL = 2e-11
"""Measured on one core: adding a product of two non-zeros, and BLAS by row and cell of the matrix."""

BAND = 64
"""Rows of the Gram matrix that are filled at a time: 1 MB of 2,000 columns."""

N_DENSE_ROWS = 1024
"""Rows that are densified at a time: enough for BLAS to run at full speed, few enough to stay in cache."""


def dense_is_cheaper(indptr: NDArray[np.int64], n_columns: int) -> bool:
    """Whether densifying this block costs less time than going through pairs of its non-zeros."""
    counts = np.diff(indptr).astype(np.float64)
    pairs = float((counts * (counts + 1) / 2).sum())
    return pairs * SECONDS_PER_PAIR > counts.size * float(n_columns) ** 2 * SECONDS_PER_DENSE_CELL


@nb.njit(nogil=True, cache=True)
def accumulate_gram_pairs(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    gram: NDArray[np.float64],
) -> None:
    """Add the upper triangle of the product of a block's transpose with the block to `gram`, `(n_columns, n_columns)`.

    Rows whose columns are sorted are visited once a band of the matrix, so that the band stays in cache.
    """
    n_rows = indptr.size - 1
    n_columns = gram.shape[0]
    position = indptr[:-1].copy()
    is_sorted = np.ones(n_rows, dtype=np.bool_)
    for i in range(n_rows):
        for p in range(indptr[i] + 1, indptr[i + 1]):
            if indices[p] <= indices[p - 1]:
                is_sorted[i] = False
                _add_unsorted(indptr[i], indptr[i + 1], indices, values, gram)
                break
    for band in range(0, n_columns, BAND):
        end = band + BAND
        for i in range(n_rows):
            stop = indptr[i + 1]
            p = position[i]
            while is_sorted[i] and p < stop and indices[p] < end:
                x = values[p]
                row = gram[indices[p]]
                for q in range(p, stop):
                    row[indices[q]] += x * values[q]
                p += 1
            position[i] = p


@nb.njit(nogil=True, cache=True)
def _add_unsorted(
    start: int,
    stop: int,
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    gram: NDArray[np.float64],
) -> None:
    """Add one row whose columns come in any order, perhaps repeated."""
    for p in range(start, stop):
        for q in range(start, stop):
            a, b = indices[p], indices[q]
            if a <= b:
                gram[a, b] += values[p] * values[q]


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
        for p in range(indptr[i], indptr[i + 1]):
            out[i - start, indices[p]] += values[p]


@nb.njit(nogil=True, cache=True)
def _add_upper(
    product: NDArray[np.float64],
    gram: NDArray[np.float64],
) -> None:
    n = gram.shape[0]
    for a in range(n):
        for b in range(a, n):
            gram[a, b] += product[a, b]


def accumulate_gram_dense(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    gram: NDArray[np.float64],
) -> None:
    """Do as :func:`accumulate_gram_pairs` through dense runs of rows and BLAS."""
    n_columns = gram.shape[0]
    n_rows = indptr.size - 1
    dense = np.empty((min(N_DENSE_ROWS, n_rows), n_columns), dtype=np.float64)
    for start in range(0, n_rows, N_DENSE_ROWS):
        stop = min(start + N_DENSE_ROWS, n_rows)
        run = dense[: stop - start]
        _scatter(indptr, indices, values, start, stop, run)
        # a C-ordered run is the Fortran-ordered transpose; the lower triangle there is the upper one here
        product = blas.dsyrk(1.0, run.T, lower=True).T
        _add_upper(product, gram)
