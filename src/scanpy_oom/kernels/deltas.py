"""Columns of sparse rows as distances from one to the next, and the narrowest types that hold them and the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["decode_deltas", "encode_deltas", "narrow_counts"]

ZERO, ONE = np.uint64(0), np.uint64(1)


@nb.njit(nogil=True, cache=True)
def encode_deltas(indptr: NDArray[np.int64], indices: NDArray[np.int32], out: NDArray[np.unsignedinteger]) -> bool:
    """Write how many columns are skipped before each stored entry of a row.

    Parameters
    ----------
    indptr, indices
        Block of rows, row-compressed, whose columns increase.
    out
        `(nnz,)` uint16 or uint32, written.

    Returns
    -------
    Whether every number fits the type of `out`; what is written is meaningless otherwise.
    """
    widest = np.int64(0)
    most = (np.int64(1) << (8 * out.itemsize)) - 1
    for i in range(indptr.size - 1):
        next_column = np.int64(0)
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            skipped = np.int64(indices[p]) - next_column
            widest |= skipped
            out[p] = skipped & most
            next_column = np.int64(indices[p]) + 1
    return bool(widest <= most)


@nb.njit(nogil=True, cache=True)
def decode_deltas(
    lengths: NDArray[np.int32],
    deltas: NDArray[np.unsignedinteger],
    values: NDArray[np.number | np.bool_],
    wanted: NDArray[np.bool_],
    column_map: NDArray[np.int32],
    out_lengths: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
) -> int:
    """Undo :func:`encode_deltas` for some rows and columns, and widen the values.

    Parameters
    ----------
    lengths
        `(n_rows,)` stored entries of each row.
    deltas, values
        `(nnz,)`: skipped columns, and values in a narrow type.
    wanted
        `(n_rows,)`: which rows are decoded; empty for all.
    column_map
        `(n_columns,)`: new number of each column, -1 to leave it out; empty for all as they are.
    out_lengths, indices, data
        Written: entries of each wanted row, their columns and values. What follows the last is meaningless.

    Returns
    -------
    Number of entries written.
    """
    p = ZERO
    write = ZERO
    row = 0
    for i in range(lengths.size):
        stop = p + np.uint64(lengths[i])
        if wanted.size > 0 and not wanted[i]:
            p = stop
            continue
        start = write
        next_column = ZERO
        if column_map.size == 0:
            while p < stop:
                column = next_column + np.uint64(deltas[p])
                indices[write] = column
                data[write] = values[p]
                next_column = column + ONE
                write += ONE
                p += ONE
        else:
            while p < stop:
                column = next_column + np.uint64(deltas[p])
                j = column_map[column]
                indices[write] = j
                data[write] = values[p]
                next_column = column + ONE
                write += np.uint64(j >= 0)
                p += ONE
        out_lengths[row] = write - start
        row += 1
    return int(write)


@nb.njit(nogil=True, cache=True)
def narrow_counts(values: NDArray[np.number | np.bool_], out: NDArray[np.unsignedinteger]) -> bool:
    """Write values as unsigned integers.

    Parameters
    ----------
    values
        `(n,)`.
    out
        `(n,)` unsigned integers of 8, 16 or 32 bits, written.

    Returns
    -------
    Whether each value is a whole number, no negative zero, that fits the type of `out`; what is written is meaningless
    otherwise.
    """
    most = np.float64((np.int64(1) << (8 * out.itemsize)) - 1)
    misfits = 0
    for p in range(values.size):
        x = np.float64(values[p])
        inside = x if x >= 0 and x <= most else 0.0  # nothing else may be cast
        count = np.int64(inside)
        misfits += (np.float64(count) != x) | np.signbit(x)  # both, always: so it is done for many at once
        out[p] = count
    return misfits == 0
