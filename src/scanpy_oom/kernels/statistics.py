"""Sums, counts and moments of a block, by row, by column and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "axis_statistics",
    "extrema",
    "group_clipped_sums",
    "group_moments",
    "group_sums",
    "group_table_sums",
    "group_welford",
    "masked_row_sums",
    "top_row_sums",
]


@nb.njit(nogil=True, cache=True)
def axis_statistics(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    single: bool,  # noqa: FBT001
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> None:
    """Write moments of each row, and add moments of each column.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    single
        Whether squares are rounded to single precision before they are added.
    rows
        `(n_rows, 3)`, written: sum, number of non-zeros, number of positive entries.
    columns
        `(n_columns, 4)`, added to: sum, sum of squares, number of non-zeros, number of positive entries.
    """
    for i in range(indptr.size - 1):
        total = 0.0
        nnz = 0
        npos = 0
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            total += x
            nnz += x != 0
            npos += x > 0
            moments = columns[np.uint32(indices[p])]
            moments[0] += x
            square = x * x
            moments[1] += np.float64(np.float32(square)) if single else square
            moments[2] += x != 0
            moments[3] += x > 0
        rows[i, 0] = total
        rows[i, 1] = nnz
        rows[i, 2] = npos


@nb.njit(nogil=True, cache=True)
def group_moments(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int64],
    order: NDArray[np.int64],
    single: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """Add moments of each column within groups of rows.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    codes
        `(n_rows,)` group of each row, or -1.
    order
        `(n_rows,)` rows in the order in which they are visited: by group, so that a group's results stay in cache.
    single
        Whether squares are rounded to single precision before they are added.
    out
        `(n_groups, n_columns, 4)`, added to: sum, sum of squares, number of non-zeros, number of positive entries.
    """
    for t in range(order.size):
        i = order[t]
        g = codes[i]
        if g < 0:
            continue
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            moments = out[g, np.uint32(indices[p])]
            moments[0] += x
            square = x * x
            moments[1] += np.float64(np.float32(square)) if single else square
            moments[2] += x != 0
            moments[3] += x > 0


@nb.njit(nogil=True, cache=True)
def group_sums(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int64],
    order: NDArray[np.int64],
    single: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """Add sums of each column within groups of rows: what :func:`group_moments` adds, without the counts.

    Parameters
    ----------
    indptr, indices, values, codes, order, single
        As there.
    out
        `(n_groups, n_columns, 2)`, added to: sum, sum of squares.
    """
    for t in range(order.size):
        i = order[t]
        g = codes[i]
        if g < 0:
            continue
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            sums = out[g, np.uint32(indices[p])]
            sums[0] += x
            square = x * x
            sums[1] += np.float64(np.float32(square)) if single else square


@nb.njit(nogil=True, cache=True)
def group_table_sums(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.floating],
    tables: tuple[NDArray[np.float64], NDArray[np.float64]],
    others: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    single: bool,  # noqa: FBT001
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
    out: NDArray[np.float64],
) -> None:
    """Add two numbers and their squares to each column, within groups of rows, that tables tell for small counts.

    So what becomes of counts is written nowhere: it is memory that sums of columns wait for.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    tables
        Of either number, `(n_rows, n)`, or `(1, n)` for all rows: what it is for 0, 1, ..., n - 1.
    others
        `(n_others,)` positions, ascending, of the values that are no such counts, and either number, `(n_others,)`.
    single
        Whether squares are rounded to single precision before they are added.
    groups
        `codes` and `order` of :func:`group_moments`.
    out
        `(n_groups, n_columns, 4)`, added to: sum and sum of squares of one, and of the other.
    """
    codes, order = groups
    first_table, second_table = tables
    missed, first_missed, second_missed = others
    row = np.empty((first_table.shape[1], 4))
    for t in range(order.size):
        i = order[t]
        g = codes[i]
        if g < 0:
            continue
        ones, twos = first_table[i if len(first_table) > 1 else 0], second_table[i if len(second_table) > 1 else 0]
        for j in range(np.uint64(ones.size)):
            row[j, 0], row[j, 1], row[j, 2], row[j, 3] = _with_squares(ones[j], twos[j], single)
        first, stop = indptr[i], indptr[i + 1]
        k = np.uint64(np.searchsorted(missed, first))
        while first < stop:
            end = min(missed[k], stop) if k < np.uint64(missed.size) else stop
            for p in range(np.uint64(first), np.uint64(end)):
                terms = row[np.uint32(np.int32(values[p]))]
                _add_four((terms[0], terms[1], terms[2], terms[3]), out[g, np.uint32(indices[p])])
            if end < stop:
                _add_four(_with_squares(first_missed[k], second_missed[k], single), out[g, np.uint32(indices[end])])
                k += np.uint64(1)
            first = end + 1


@nb.njit(nogil=True, cache=True)
def _with_squares(x: float, y: float, single: bool) -> tuple[float, float, float, float]:  # noqa: FBT001
    xx, yy = x * x, y * y
    return x, np.float64(np.float32(xx)) if single else xx, y, np.float64(np.float32(yy)) if single else yy


@nb.njit(nogil=True, cache=True)
def _add_four(terms: tuple[float, float, float, float], out: NDArray[np.float64]) -> None:
    # read before anything is written: so it is done to all at once
    a, b, c, d = out[0] + terms[0], out[1] + terms[1], out[2] + terms[2], out[3] + terms[3]
    out[0], out[1], out[2], out[3] = a, b, c, d


@nb.njit(nogil=True, cache=True)
def group_welford(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int64],
    counts: NDArray[np.int64],
    mean: NDArray[np.float64],
    m2: NDArray[np.float64],
) -> None:
    """Carry on the running mean and sum of squared deviations of each column within groups of rows (Welford, 1962).

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    codes
        `(n_rows,)` group of each row, or -1.
    counts
        `(2, n_groups, n_columns)`, carried on: values so far, and how many of them are not zero.
    mean, m2
        `(n_groups, n_columns)`, carried on: mean of the values, and sum of squared deviations from it.
    """
    for i in range(indptr.size - 1):
        g = codes[i]
        if g < 0:
            continue
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            j = np.uint32(indices[p])
            counts[0, g, j] += 1
            counts[1, g, j] += x != 0
            delta = x - mean[g, j]
            mean[g, j] += delta / counts[0, g, j]
            m2[g, j] += delta * (x - mean[g, j])


@nb.njit(nogil=True, cache=True)
def masked_row_sums(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    member: NDArray[np.bool_],
    out: NDArray[np.float64],
) -> None:
    """Write the sum of each row over sets of columns.

    `member` is `(n_columns, n_sets)` booleans, `out` is `(n_rows, n_sets)`.
    """
    n_sets = member.shape[1]
    in_a_set = np.zeros(member.shape[0], dtype=np.bool_)
    for column in range(member.shape[0]):
        in_a_set[column] = member[column].any()
    for i in range(indptr.size - 1):
        for s in range(n_sets):
            out[i, s] = 0.0
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            j = np.uint32(indices[p])
            if in_a_set[j]:
                for s in range(n_sets):
                    if member[j, s]:
                        out[i, s] += values[p]


@nb.njit(nogil=True, cache=True)
def top_row_sums(
    indptr: NDArray[np.int64],
    values: NDArray[np.float64],
    n_columns: int,
    ns: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the sum of the `ns[k]` largest entries of each row, with zeros up to `n_columns` of them.

    Zeros that are stored count as those that are not. `ns` is increasing; `out` is `(n_rows, len(ns))`.
    """
    for i in range(indptr.size - 1):
        row = np.sort(values[indptr[i] : indptr[i + 1]])
        stored = row.size
        zeros = n_columns - np.count_nonzero(row)
        k = 0
        total = 0.0
        taken = 0
        p = stored - 1
        while k < ns.size:
            while taken < ns[k]:
                while p >= 0 and row[p] == 0:
                    p -= 1
                # zeros stand between the positive and the negative entries
                if zeros > 0 and (p < 0 or row[p] < 0):
                    zeros -= 1
                elif p >= 0:
                    total += row[p]
                    p -= 1
                else:
                    break
                taken += 1
            out[i, k] = total
            k += 1


@nb.njit(nogil=True, cache=True)
def extrema(values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Widen `out`, (minimum, maximum, number of values that are not whole, number of negative ones)."""
    for p in range(values.size):
        x = values[p]
        if np.isnan(x) or x < out[0]:
            out[0] = x
        if np.isnan(x) or x > out[1]:
            out[1] = x
        if x != np.floor(x):
            out[2] += 1
        if x < 0:
            out[3] += 1


@nb.njit(nogil=True, cache=True)
def group_clipped_sums(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int64],
    highest: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add sums and sums of squares of each column within groups of rows, of values cut at a bound.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    codes
        `(n_rows,)` group of each row, or -1.
    highest
        `(n_groups, n_columns)` bounds.
    out
        `(n_groups, n_columns, 2)`, added to, one value after the other: sum, sum of squares.
    """
    for i in range(indptr.size - 1):
        g = codes[i]
        if g < 0:
            continue
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            j = np.uint32(indices[p])
            x = min(values[p], highest[g, j])
            out[g, j, 0] += x
            out[g, j, 1] += x * x
