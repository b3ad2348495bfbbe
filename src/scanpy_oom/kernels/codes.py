"""Counts and their columns as a code of one byte an entry, and more where that does not hold them.

The high bits of the byte are the number of columns that are skipped, the low ones the count less one. The largest
number of either means that the number itself follows: of skipped columns in two bytes, of counts in one, or in that
of 255 and two more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LONGEST_CODE", "decode_counts", "encode_counts"]

LONGEST_CODE = 6
"""Bytes that an entry takes at most."""

ZERO, ONE, TWO, BYTE, FULL = (np.uint64(n) for n in (0, 1, 2, 8, 255))


@nb.njit(nogil=True, cache=True)
def encode_counts(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.floating[Any]],
    gap_bits: int,
    out: NDArray[np.uint8],
) -> int:
    """Encode a block of rows.

    Parameters
    ----------
    indptr, indices, data
        Block of rows, row-compressed, whose columns increase. `indptr` need not start at 0.
    gap_bits
        How many bits of the first byte are for skipped columns; from 1 to 7.
    out
        `(LONGEST_CODE * nnz,)`, written.

    Returns
    -------
    Bytes written; -1 if there is a value that is no whole number from 1 to 65,536, or if more than 65,535 columns are
    skipped: what is written is meaningless then.
    """
    count_bits = np.uint64(8 - gap_bits)
    most_skipped = (ONE << np.uint64(gap_bits)) - ONE
    most = (ONE << count_bits) - ONE
    write = ZERO
    for i in range(indptr.size - 1):
        next_column = np.int64(0)
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = np.float64(data[p])
            skipped = np.int64(indices[p]) - next_column
            next_column = np.int64(indices[p]) + 1
            if not (1.0 <= x <= 65536.0) or np.float64(np.int64(x)) != x or skipped > 65535:
                return -1
            gap, less_one = np.uint64(skipped), np.uint64(x) - ONE
            out[write] = min(gap, most_skipped) << count_bits | min(less_one, most)
            write += ONE
            if gap >= most_skipped:
                out[write] = gap & FULL
                out[write + ONE] = gap >> BYTE
                write += TWO
            if less_one >= most:
                out[write] = min(less_one, FULL)
                write += ONE
                if less_one >= FULL:
                    out[write] = less_one & FULL
                    out[write + ONE] = less_one >> BYTE
                    write += TWO
    return np.int64(write)  # type: ignore[return-value]  # numba would make a float of -1 and an unsigned number


@nb.njit(nogil=True, cache=True)
def decode_counts(
    lengths: NDArray[np.int32],
    code: NDArray[np.uint8],
    gap_bits: int,
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
    code, gap_bits
        What was written, and how.
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
    count_bits = np.uint64(8 - gap_bits)
    most_skipped = (ONE << np.uint64(gap_bits)) - ONE
    most = (ONE << count_bits) - ONE
    all_columns = column_map.size == 0
    read, write = ZERO, ZERO
    row = 0
    for i in range(lengths.size):
        start = write
        takes = ONE if wanted.size == 0 or wanted[i] else ZERO
        next_column = ZERO
        for _ in range(lengths[i]):
            byte = np.uint64(code[read])
            read += ONE
            gap, count = byte >> count_bits, byte & most
            if gap == most_skipped:
                gap = np.uint64(code[read]) | np.uint64(code[read + ONE]) << BYTE
                read += TWO
            if count == most:
                count = np.uint64(code[read])
                read += ONE
                if count == FULL:
                    count = np.uint64(code[read]) | np.uint64(code[read + ONE]) << BYTE
                    read += TWO
            column = next_column + gap
            next_column = column + ONE
            if takes:
                j = np.int32(column) if all_columns else column_map[column]
                indices[write] = j
                data[write] = count + ONE
                write += np.uint64(j >= 0)
        if takes:
            out_lengths[row] = write - start
            row += 1
    return int(write)
