"""From what a source stores to what a matrix shows: columns are chosen, small counts looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_before", "is_increasing", "look_up", "row_totals", "select_columns", "sort_columns", "table_misses"]

AT_ONCE = 64
"""Values that are looked at together."""


@nb.njit(nogil=True, cache=True)
def is_increasing(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> bool:
    """Return whether the columns of each row increase, so that none is repeated."""
    for i in range(indptr.size - 1):
        falls = 0
        row = indices[np.uint64(indptr[i]) : np.uint64(indptr[i + 1])]
        for k in range(1, row.size):
            falls += row[k] <= row[k - 1]  # not left at the first: so it is done for many at once
        if falls:
            return False
    return True


@nb.njit(nogil=True, cache=True)
def count_before(rows: NDArray[np.int32], out: NDArray[np.int32]) -> None:
    """Count entries that precede each row, where some rows have one entry each: the offsets of a single column.

    Parameters
    ----------
    rows
        Rows that have one, ascending.
    out
        `(n_rows + 1,)`, written.
    """
    start, one = np.uint64(0), np.uint64(1)
    for k in range(rows.size):
        stop = np.uint64(rows[k]) + one
        for i in range(start, stop):
            out[i] = k
        start = stop
    for i in range(start, np.uint64(out.size)):
        out[i] = rows.size


@nb.njit(nogil=True, cache=True)
def select_columns(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.floating],
    column_map: NDArray[np.int32],
    out_indptr: NDArray[np.int64],
    out_indices: NDArray[np.int32],
    out: NDArray[np.float64],
) -> int:
    """Keep the wanted columns of a block of rows.

    Parameters
    ----------
    indptr, indices, data
        Block of rows, row-compressed.
    column_map
        `(n_source_columns,)` int32: new number of each column, -1 to leave it out.
    out_indptr, out_indices, out
        Written: offsets `(n_rows + 1,)`, new columns `(nnz,)` and values `(nnz,)` float64 of the entries that are kept.
        What follows these is meaningless.

    Returns
    -------
    Number of entries kept.
    """
    write = np.uint64(0)
    out_indptr[0] = 0
    for i in range(indptr.size - 1):
        # few columns are kept, and which ones cannot be predicted: write always, move on where one is kept
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            j = column_map[np.uint32(indices[p])]
            out_indices[write] = j
            out[write] = data[p]
            write += np.uint64(j >= 0)
        out_indptr[i + 1] = write
    return int(write)


@nb.njit(nogil=True, cache=True)
def sort_columns(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
    n_columns: int,
    out_indices: NDArray[np.int32],
    out: NDArray[np.float64],
) -> None:
    """Put the columns of each row in ascending order, equal ones in the order in which they come.

    The block is transposed twice, which takes time in proportion to its entries and columns.

    Parameters
    ----------
    indptr, indices, data
        Block of rows, row-compressed.
    n_columns
        Columns of the block.
    out_indices, out
        `(nnz,)`, written: columns and values in their new places.
    """
    starts = np.zeros(n_columns + 1, dtype=np.int64)
    for p in range(indices.size):
        starts[np.uint32(indices[p]) + np.uint64(1)] += 1
    for column in range(n_columns):
        starts[column + 1] += starts[column]
    rows, values = np.empty(indices.size, dtype=np.int32), np.empty(indices.size, dtype=np.float64)
    for i in range(indptr.size - 1):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            j = np.uint32(indices[p])
            to = np.uint64(starts[j])
            rows[to], values[to] = i, data[p]
            starts[j] += 1
    # each start has moved on to that of the next column
    write, at = indptr[:-1].copy(), np.uint64(0)
    for column in range(n_columns):
        while at < np.uint64(starts[column]):
            row = np.uint32(rows[at])
            place = np.uint64(write[row])
            out_indices[place], out[place] = column, values[at]
            write[row] += 1
            at += np.uint64(1)


@nb.njit(nogil=True, cache=True)
def look_up(
    indptr: NDArray[np.int64],
    values: NDArray[np.floating],
    table: NDArray[np.float64],
    out: NDArray[np.float64],
    missed: NDArray[np.int64],
) -> int:
    """Replace small counts by what a table says.

    Parameters
    ----------
    indptr, values
        Offsets `(n_rows + 1,)` and values `(nnz,)` of a block of rows.
    table
        `(n_rows, n)`, or `(1, n)` for all rows: what becomes of 0, 1, ..., n - 1.
    out
        `(nnz,)`, written: what the values become; meaningless for those that are missed.
    missed
        `(nnz,)`, written: positions of the values that are no such counts.

    Returns
    -------
    Number of values missed.
    """
    n = table.shape[1]
    n_missed = np.uint64(0)
    for i in range(indptr.size - 1):
        row = table[i if table.shape[0] > 1 else 0]
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            count = np.int64(x) if abs(x) < n else np.int64(-1)
            if count >= 0 and count == x:
                out[p] = row[np.uint32(count)]
            else:
                missed[n_missed] = p
                n_missed += np.uint64(1)
    return int(n_missed)


@nb.njit(nogil=True, cache=True)
def table_misses(values: NDArray[np.floating], n: int, missed: NDArray[np.int64]) -> int:
    """Find the values that are no counts below `n`.

    Parameters
    ----------
    values
        `(nnz,)`.
    n
        At most 2^31.
    missed
        `(nnz,)`, written: their positions, ascending.

    Returns
    -------
    How many there are.
    """
    n_missed = np.uint64(0)
    for start in range(0, values.size, AT_ONCE):
        some = values[start : start + AT_ONCE]
        found = 0
        for p in range(np.uint64(some.size)):  # most are counts: many are looked at at once, and few again
            found += _is_missed(some[p], n)
        if found:
            for p in range(np.uint64(some.size)):
                missed[n_missed] = np.int64(start) + np.int64(p)
                n_missed += np.uint64(_is_missed(some[p], n))
    return int(n_missed)


@nb.njit(nogil=True, cache=True)
def _is_missed(x: float, n: int) -> bool:
    is_inside = (x >= 0) & (x < n)
    inside = x if is_inside else 0.0  # nothing else may be cast
    return (not is_inside) | bool(np.float64(np.int32(inside)) != np.float64(x))


@nb.njit(nogil=True, cache=True)
def row_totals(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.floating],
    counted: NDArray[np.bool_],
    totals: NDArray[np.float64],
) -> None:
    """Fill the unknown (NaN) entries of `totals`, `(n_rows,)`, with sums over the columns that `counted` marks.

    `counted` is `(n_source_columns,)` booleans, or empty for all columns.
    """
    count_all = counted.size == 0
    for i in range(indptr.size - 1):
        if not np.isnan(totals[i]):
            continue
        total = 0.0
        if count_all:
            for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
                total += data[p]
        else:
            for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
                if counted[np.uint32(indices[p])]:
                    total += data[p]
        totals[i] = total
