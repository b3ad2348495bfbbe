"""Selections of rows, and of the elements that they own, as runs of consecutive numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["Pieces", "Runs", "element_runs", "row_runs", "selected_offsets"]


class Runs(NamedTuple):
    """Disjoint ascending half-open ranges `[start, stop)`, none of them empty, no two adjoining."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Count of numbers in all runs."""
        return int((self.stops - self.starts).sum())

    def numbers(self) -> slice | NDArray[np.int64]:
        """Give the numbers themselves, as an index into an array."""
        if len(self.starts) == 1:
            return slice(int(self.starts[0]), int(self.stops[0]))
        lengths = self.stops - self.starts
        return np.arange(lengths.sum()) + np.repeat(self.starts - (np.cumsum(lengths) - lengths), lengths)


def _merge(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Runs:
    """Drop empty ranges and join those that adjoin."""
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if len(starts) < 2:
        return Runs(starts, stops)
    gap = starts[1:] != stops[:-1]
    return Runs(starts[np.append(True, gap)], stops[np.append(gap, True)])


def row_runs(rows: slice | NDArray[np.integer], n: int) -> Runs:
    """Turn a selection among `n` rows (or columns) into runs.

    Raises
    ------
    IndexError
        If a number lies outside of `[0, n)`, or `rows` is no array of integers.
    ValueError
        If a slice has a step, or numbers do not strictly increase.
    """
    if isinstance(rows, slice):
        start, stop, step = rows.indices(n)
        if step != 1:
            msg = f"A slice of rows must have step 1, not {rows.step}."
            raise ValueError(msg)
        return _merge(np.array([start], dtype=np.int64), np.array([stop], dtype=np.int64))
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        msg = f"Rows must be a slice or a one-dimensional array of integers, not {numbers.dtype} {numbers.shape}."
        raise IndexError(msg)
    numbers = numbers.astype(np.int64)
    if np.any(numbers[1:] <= numbers[:-1]):
        msg = "Row numbers must strictly increase."
        raise ValueError(msg)
    if numbers.size and (numbers[0] < 0 or numbers[-1] >= n):
        bad = numbers[0] if numbers[0] < 0 else numbers[-1]
        msg = f"Row {bad} does not exist: rows are numbered from 0 to {n - 1}."
        raise IndexError(msg)
    return _merge(numbers, numbers + 1)


def element_runs(runs: Runs, offsets: NDArray[np.integer]) -> Runs:
    """Give the elements that rows own, where row `i` owns `offsets[i]` up to `offsets[i + 1]`."""
    return _merge(offsets[runs.starts].astype(np.int64), offsets[runs.stops].astype(np.int64))


def selected_offsets(runs: Runs, offsets: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the elements that precede each of the selected rows, among the elements of the selected rows."""
    rows = runs.numbers()
    indptr = np.zeros(runs.size + 1, dtype=np.int64)
    np.cumsum(offsets[1:][rows] - offsets[:-1][rows], out=indptr[1:])
    return indptr


class Pieces(NamedTuple):
    """The share of one chunk in a read: ranges within the chunk, and the place of the first in the result."""

    chunk: int
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    dest: int

    @classmethod
    def split(cls, runs: Runs, chunk_size: int) -> Iterator[Pieces]:
        """Cut runs at the borders of chunks of `chunk_size`."""
        if not len(runs.starts):
            return
        first = runs.starts // chunk_size
        n_pieces = (runs.stops - 1) // chunk_size - first + 1
        run = np.repeat(np.arange(len(first)), n_pieces)
        chunk = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
        starts = np.maximum(runs.starts[run], chunk * chunk_size)
        stops = np.minimum(runs.stops[run], (chunk + 1) * chunk_size)
        dest = np.cumsum(stops - starts) - (stops - starts)
        borders = np.flatnonzero(np.diff(chunk, prepend=-1, append=-1))
        for lo, hi in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            origin = chunk[lo] * chunk_size
            yield cls(int(chunk[lo]), starts[lo:hi] - origin, stops[lo:hi] - origin, int(dest[lo]))

    @property
    def size(self) -> int:
        """Count of elements that the chunk contributes."""
        return int((self.stops - self.starts).sum())

    def copy(self, values: Values, out: Values) -> None:
        """Copy the ranges of the decoded chunk `values` to their place in the result `out`."""
        target = out[self.dest : self.dest + self.size]
        if len(self.starts) > _MANY:
            lengths = self.stops - self.starts
            shift = self.starts - (np.cumsum(lengths) - lengths)
            target[:] = values[np.arange(len(target)) + np.repeat(shift, lengths)]
            return
        at = 0
        for lo, hi in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            target[at : at + hi - lo] = values[lo:hi]
            at += hi - lo


_MANY = 64  # ranges in one chunk from which one gather is quicker than a loop over slices
