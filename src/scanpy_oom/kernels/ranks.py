"""Sums of ranks by group, from the sorted values that are stored: all places where nothing is share one rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pair_rank_sums", "partition_entries", "rank_sums", "scatter_keys"]

HALF = np.uint64(32)


@nb.njit(nogil=True, cache=True)
def partition_entries(  # noqa: PLR0913
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int32],
    bucket_of_column: NDArray[np.int32],
    starts: NDArray[np.int64],
    out_columns: NDArray[np.int32],
    out_codes: NDArray[np.int32],
    out_values: NDArray[np.number],
) -> None:
    """Put the entries of rows in the order of buckets of columns.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    codes
        `(n_rows,)` group of each row.
    bucket_of_column
        `(n_columns,)`.
    starts
        `(n_buckets + 1,)`, written: where each bucket starts.
    out_columns, out_codes, out_values
        `(nnz,)`, written.
    """
    starts[:] = 0
    for p in range(indices.size):
        starts[bucket_of_column[np.uint32(indices[p])] + 1] += 1
    for k in range(1, starts.size):
        starts[k] += starts[k - 1]
    cursor = starts.copy()
    for i in range(indptr.size - 1):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            bucket = bucket_of_column[np.uint32(indices[p])]
            at = np.uint64(cursor[bucket])
            out_columns[at] = indices[p]
            out_codes[at] = codes[i]
            out_values[at] = values[p]
            cursor[bucket] += 1


@nb.njit(nogil=True, cache=True)
def scatter_keys(
    columns: NDArray[np.int32],
    codes: NDArray[np.int32],
    ordered: NDArray[np.uint32],
    first: int,
    cursor: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Write a key for each entry, column by column: the value as a number that sorts alike, then the group.

    Parameters
    ----------
    columns, codes, ordered
        `(nnz,)`: column, group and value of each entry.
    first
        Column to which `cursor[0]` belongs.
    cursor
        `(n_columns,)`: where each column starts; on return, where it ends.
    out
        `(nnz,)`, written.
    """
    for p in range(columns.size):
        column = np.uint32(columns[p] - first)
        out[np.uint64(cursor[column])] = (np.uint64(ordered[p]) << HALF) | np.uint64(codes[p])
        cursor[column] += 1


@nb.njit(nogil=True, cache=True)
def _unstored(keys: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count places of each group where nothing is stored."""
    unstored = sizes.copy()
    for p in range(keys.size):
        unstored[np.uint32(keys[p])] -= 1
    return unstored


@nb.njit(nogil=True, cache=True)
def rank_sums(
    keys: NDArray[np.uint64], unstored_value: int, sizes: NDArray[np.int64], sums: NDArray[np.float64]
) -> float:
    """Rank all values of a column, ties by their mean rank, and add ranks up by group.

    Parameters
    ----------
    keys
        Sorted keys of what is stored, as :func:`scatter_keys` makes them.
    unstored_value
        The value where nothing is stored, as it stands in a key.
    sizes
        `(n_groups,)` values of each group, stored or not.
    sums
        `(n_groups,)`, written.

    Returns
    -------
    Sum of `t**3 - t` over runs of `t` equal values.
    """
    sums[:] = 0.0
    unstored = _unstored(keys, sizes)
    n_unstored = unstored.sum()
    below, ties = 0.0, 0.0
    i = 0
    placed = n_unstored == 0
    while i < keys.size or not placed:
        value = np.int64(keys[i] >> HALF) if i < keys.size else np.int64(unstored_value)
        here = not placed and unstored_value <= value
        if here:
            value = np.int64(unstored_value)
            placed = True
        j = i
        while j < keys.size and np.int64(keys[j] >> HALF) == value:
            j += 1
        n = np.float64(j - i + (n_unstored if here else 0))
        rank = below + (n + 1.0) / 2.0
        for p in range(i, j):
            sums[np.uint32(keys[p])] += rank
        if here:
            for g in range(sums.size):
                sums[g] += unstored[g] * rank
        ties += n**3 - n
        below += n
        i = j
    return ties


@nb.njit(nogil=True, cache=True)
def pair_rank_sums(
    keys: NDArray[np.uint64],
    unstored_value: int,
    sizes: NDArray[np.int64],
    reference: int,
    sums: NDArray[np.float64],
    ties: NDArray[np.float64],
) -> None:
    """Do as :func:`rank_sums` for each group together with a reference group alone.

    Parameters
    ----------
    keys, unstored_value, sizes
        As there.
    reference
        The group with which the others are compared.
    sums
        `(n_groups,)`, written: sums of the ranks that values of the group have among those of both.
    ties
        `(n_groups,)`, written: sums of `t**3 - t` over runs of `t` equal values among those of both.
    """
    sums[:] = 0.0
    ties[:] = 0.0
    below = np.zeros(sums.size)
    here_of = np.zeros(sums.size)
    unstored = _unstored(keys, sizes)
    below_reference, ties_reference = 0.0, 0.0
    i = 0
    placed = unstored.sum() == 0
    while i < keys.size or not placed:
        value = np.int64(keys[i] >> HALF) if i < keys.size else np.int64(unstored_value)
        here = not placed and unstored_value <= value
        if here:
            value = np.int64(unstored_value)
            placed = True
            here_of += unstored
        j = i
        while j < keys.size and np.int64(keys[j] >> HALF) == value:
            here_of[np.uint32(keys[j])] += 1.0
            j += 1
        m = here_of[reference]
        lone = m**3 - m
        ties_reference += lone
        here_of[reference] = 0.0
        for p in range(sums.size if here else j - i):
            g = np.uint32(p) if here else np.uint32(keys[i + p])
            n = here_of[g]
            if n > 0:  # once for each group that has this value
                sums[g] += n * (below[g] + below_reference + (n + m + 1.0) / 2.0)
                ties[g] += (n + m) ** 3 - (n + m) - lone
                below[g] += n
                here_of[g] = 0.0
        below_reference += m
        i = j
    ties += ties_reference
