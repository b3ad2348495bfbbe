"""Rows that come in one order and are wanted in another, by way of scratch files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .file import ScratchArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["ScratchRows"]


class ScratchRows:
    """Rows of any length, each of one or more arrays of that length.

    Parameters
    ----------
    n_rows
        How many there will be.
    dtypes
        Types of the arrays of a row.
    """

    def __init__(self, n_rows: int, dtypes: Sequence[np.dtype]) -> None:
        self._files = [ScratchArray(np.dtype(dtype)) for dtype in dtypes]
        self._starts = np.zeros(n_rows, dtype=np.int64)
        self._lengths = np.zeros(n_rows, dtype=np.int64)
        self._end = 0

    def put(self, positions: slice | NDArray[np.intp], lengths: NDArray[np.int64], arrays: Sequence[Values]) -> None:
        """Store rows, end to end in `arrays`, for the places `positions`."""
        self._starts[positions] = self._end + np.cumsum(lengths) - lengths
        self._lengths[positions] = lengths
        for file, values in zip(self._files, arrays, strict=True):
            file.write(values, self._end)
        self._end += int(lengths.sum())

    def take(self, entries: int) -> Iterator[tuple[NDArray[np.int64], list[Values]]]:
        """Yield lengths and arrays of the rows in the order of their places, in runs of about `entries` entries."""
        ends = np.cumsum(self._lengths)
        first = 0
        while first < ends.size:
            done = ends[first - 1] if first else 0
            last = max(int(np.searchsorted(ends, done + entries, side="right")), first + 1)
            yield self._lengths[first:last], self._read(first, last)
            first = last

    def _read(self, first: int, last: int) -> list[Values]:
        starts, lengths = self._starts[first:last], self._lengths[first:last]
        # rows that lie one after the other are read at once
        cuts = np.concatenate([[0], np.flatnonzero(starts[1:] != starts[:-1] + lengths[:-1]) + 1, [last - first]])
        places = np.concatenate([[0], np.cumsum(lengths)])
        out = [np.empty(places[-1], dtype=file.dtype) for file in self._files]
        for start, stop in pairwise(cuts):
            for file, values in zip(self._files, out, strict=True):
                file.read(int(starts[start]), values[places[start] : places[stop]])
        return out

    def close(self) -> None:
        """Give the space back."""
        for file in self._files:
            file.close()
