"""Counts and their columns as a code of one byte an entry, and more where that does not hold them.

The high bits of the byte are the number of columns that are skipped, the low ones the count less one. The largest
number of either means that the number itself is found elsewhere. The bytes of all entries come first. What does not fit
them follows, in the order of the entries: counts less one in a byte each, skipped columns in two, and counts of which
that byte is 255 in two more. So no entry has to be decoded for the place of the next to be known, which a processor
would have to guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LONGEST_CODE", "Layout", "decode_counts", "encode_counts"]

LONGEST_CODE = 6
"""Bytes that an entry takes at most. A code takes one more in all, which is read and not used."""

ZERO, ONE, TWO, BYTE, FULL = (np.uint64(n) for n in (0, 1, 2, 8, 255))


class Layout(NamedTuple):
    """Bits for skipped columns, and how many numbers each part has: entries, counts, skipped columns, large counts."""

    gap_bits: int
    entries: int
    counts: int
    gaps: int
    large: int

    @property
    def nbytes(self) -> int:
        """Bytes of the code."""
        return self.entries + self.counts + 2 * (self.gaps + self.large) + 1


@nb.njit(nogil=True, cache=True)
def encode_counts(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.number | np.bool_],
    gap_bits: int,
    out: NDArray[np.uint8],
) -> Layout | None:
    """Encode a block of rows.

    Parameters
    ----------
    indptr, indices, data
        Block of rows, row-compressed, whose columns increase. `indptr` need not start at 0.
    gap_bits
        How many bits of the first byte are for skipped columns; from 1 to 7.
    out
        `(LONGEST_CODE * nnz + 1,)`, written.

    Returns
    -------
    What was written; None if there is a value that is no whole number from 1 to 65,536, or if more than 65,535 columns
    are skipped: what is written is meaningless then.
    """
    start, n = indptr[0], indptr[-1] - indptr[0]
    misfits = 0
    for i in range(indptr.size - 1):
        first, end = indptr[i], indptr[i + 1]
        if first < end:
            misfits += _misfits(data[first], indices[first])
            out[first - start] = _byte(data[first], indices[first], gap_bits)
        # one entry does not depend on another: so the processor does several at once
        columns, values, place = indices[first:end], data[first:end], out[first - start : end - start]
        for p in range(1, np.uint64(values.size)):
            skipped = np.int32(columns[p] - columns[p - 1] - 1)
            misfits += _misfits(values[p], skipped)
            place[p] = _byte(values[p], skipped, gap_bits)
    if misfits:
        return None
    n_counts, n_gaps, n_large = _put_aside(indptr, indices, data, gap_bits, out[:n], out[n:])
    at = n + n_counts
    for begin, length in ((2 * n, n_gaps), (3 * n, n_gaps), (4 * n, 2 * n_large)):
        for p in range(length):  # to where the part before ends
            out[at + p] = out[begin + p]
        at += length
    out[at] = 0
    return Layout(gap_bits, n, n_counts, n_gaps, n_large)


@nb.njit(nogil=True, cache=True)
def _misfits(value: np.number | np.bool_, skipped: np.int32) -> Any:
    """Return 0 for an entry that can be encoded, 1 for another."""
    is_held = (value >= 1.0) & (value <= 65536.0)
    inside = value if is_held else 0.0  # nothing else may be cast
    is_whole = np.float64(np.int32(inside)) == np.float64(value)
    return np.int32(1) - np.int32(is_held & is_whole & (skipped <= 65535))


@nb.njit(nogil=True, cache=True)
def _byte(value: np.number | np.bool_, skipped: np.int32, gap_bits: int) -> np.uint8:
    """Return the byte of an entry that can be encoded."""
    count_bits = 8 - gap_bits
    less_one = np.int32(value) - np.int32(1)
    most_skipped = np.int32((1 << gap_bits) - 1)
    most = np.int32((1 << count_bits) - 1)
    return np.uint8((min(skipped, most_skipped) << count_bits) | min(less_one, most))


@nb.njit(nogil=True, cache=True)
def _put_aside(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.number | np.bool_],
    gap_bits: int,
    code: NDArray[np.uint8],
    aside: NDArray[np.uint8],
) -> tuple[Any, Any, Any]:
    """Write what the bytes in `code` do not hold; return how many counts, gaps and large counts these are.

    In `aside` there is room for one byte an entry of counts, of the low and of the high bytes of gaps, and for two of
    large counts.
    """
    n = code.size
    counts, low, high, large = aside[:n], aside[n : 2 * n], aside[2 * n : 3 * n], aside[3 * n :]
    count_bits = np.uint8(8 - gap_bits)
    most_skipped, most = np.uint8((1 << gap_bits) - 1), np.uint8((1 << count_bits) - 1)
    start = np.uint64(indptr[0])
    n_counts, n_gaps, n_large = ZERO, ZERO, ZERO
    for i in range(indptr.size - 1):
        first = np.uint64(indptr[i])
        for p in range(first, np.uint64(indptr[i + 1])):
            byte = code[p - start]
            less_one: Any = np.int64(data[p]) - 1
            counts[n_counts] = min(less_one, 255)  # written over by the next, unless it counts
            n_counts += np.uint64((byte & most) == most)
            if less_one >= 255:
                large[n_large << ONE] = less_one & 255
                large[(n_large << ONE) + ONE] = less_one >> 8
                n_large += ONE
            if byte >> count_bits == most_skipped:
                skipped = indices[p] if p == first else indices[p] - indices[p - ONE] - 1
                low[n_gaps] = skipped & 255
                high[n_gaps] = skipped >> 8
                n_gaps += ONE
    return np.int64(n_counts), np.int64(n_gaps), np.int64(n_large)


@nb.njit(nogil=True, cache=True)
def decode_counts(
    lengths: NDArray[np.int32],
    code: NDArray[np.uint8],
    layout: Layout,
    wanted: NDArray[np.bool_],
    column_map: NDArray[np.int32],
    out_lengths: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
) -> int:
    """Undo :func:`encode_counts` for some rows and columns.

    Parameters
    ----------
    lengths
        `(n_rows,)` entries of each row.
    code, layout
        What was written.
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
    count_bits = np.uint64(8 - layout.gap_bits)
    most_skipped = (ONE << np.uint64(layout.gap_bits)) - ONE
    most = (ONE << count_bits) - ONE
    counts = code[layout.entries :]
    low = counts[layout.counts :]
    high = low[layout.gaps :]
    large = high[layout.gaps :]
    all_columns = column_map.size == 0
    at, at_count, at_gap, at_large, write = ZERO, ZERO, ZERO, ZERO, ZERO
    row = 0
    for i in range(lengths.size):
        if wanted.size and not wanted[i]:
            n_aside, n_gaps, n_large = _aside(code[at : at + np.uint64(lengths[i])], counts[at_count:], layout.gap_bits)
            at += np.uint64(lengths[i])
            at_count, at_gap, at_large = at_count + n_aside, at_gap + n_gaps, at_large + TWO * n_large
            continue
        start, next_column = write, ZERO
        for _ in range(lengths[i]):
            byte = np.uint64(code[at])
            at += ONE
            gap, count = byte >> count_bits, byte & most
            if gap == most_skipped:
                gap = np.uint64(low[at_gap]) | np.uint64(high[at_gap]) << BYTE
                at_gap += ONE
            aside, is_aside = np.uint64(counts[at_count]), count == most  # read, used or not: nothing to guess
            count = aside if is_aside else count
            at_count += np.uint64(is_aside)
            if count == FULL:
                count = np.uint64(large[at_large]) | np.uint64(large[at_large + ONE]) << BYTE
                at_large += TWO
            column = next_column + gap
            next_column = column + ONE
            j = np.int32(column) if all_columns else column_map[column]
            indices[write] = j
            data[write] = np.int32(count + ONE)
            write += np.uint64(j >= 0)
        out_lengths[row] = write - start
        row += 1
    return int(write)


@nb.njit(nogil=True, cache=True)
def _aside(entries: NDArray[np.uint8], counts: NDArray[np.uint8], gap_bits: int) -> tuple[np.uint64, ...]:
    """Return how many counts, gaps and large counts of a row lie aside."""
    count_bits = np.uint64(8 - gap_bits)
    most_skipped, most = (ONE << np.uint64(gap_bits)) - ONE, (ONE << count_bits) - ONE
    n_counts, n_gaps, n_large = np.uint32(0), np.uint32(0), np.uint32(0)
    for k in range(entries.size):  # two loops without branches: many entries are looked at at once
        byte = np.uint8(entries[k])
        n_gaps += np.uint32(byte >> np.uint8(count_bits) == np.uint8(most_skipped))
        n_counts += np.uint32(byte & np.uint8(most) == np.uint8(most))
    for k in range(n_counts):
        n_large += np.uint32(counts[k] == np.uint8(FULL))
    return np.uint64(n_counts), np.uint64(n_gaps), np.uint64(n_large)
