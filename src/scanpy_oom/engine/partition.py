"""The partition of rows into tasks, and of tasks into blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .budget import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from ..matrix.selection import Selection
    from .reader import Reader

__all__ = ["Partition", "Rows", "in_source_order"]

N_TASKS, N_LARGE_TASKS = 64, 16
"""Tasks of a pass, and of one whose partial results are large: each has one to be filled and merged."""

LONGEST_TASK, LONGEST_LARGE_TASK = 2**15, 2**16
"""Rows of a task, at most: passes over many have more tasks, for more machines to have something to do."""

SMALLEST_TASK = 256

GROUP, LARGE_GROUP = 8, 4
"""Tasks of a group, whose results are merged with each other before they are merged with those of other groups: so
another machine can merge those of a group, and sums are rounded as they are on one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read together, in the order of the source.

    Parameters
    ----------
    first
        Number of the first of them, among all rows of the matrix in the order of the source.
    positions
        Their positions in the matrix.
    source_rows
        `(n_rows,)`: their numbers in the source, not decreasing.
    """

    first: int
    positions: slice | NDArray[np.intp]
    source_rows: NDArray[np.intp]


def in_source_order(selection: Selection) -> NDArray[np.intp] | None:
    """Return the rows of the source that a selection shows, not decreasing; None for all."""
    rows = selection.rows
    return rows if rows is None or (np.diff(rows) >= 0).all() else np.sort(rows)


class Partition:
    """Tasks and blocks of a pass over the rows of a selection.

    A task is a run of rows whose length depends on their number and on what is computed. Each fills a partial result.
    These are merged in order, first within groups of tasks and then group by group, so that results depend neither on
    threads nor on workers nor on the memory limit. A block is a run of rows within a task that is small enough for
    memory.

    Parameters
    ----------
    reader
        What is read.
    selection
        Which rows of the source.
    entries
        Entries that a block may hold; a row with more is a block of its own.
    least_entries
        Entries that a row counts for at least: what it has once it is transformed, or what else is held for it.
    """

    def __init__(self, reader: Reader, selection: Selection, entries: int, least_entries: int = 0) -> None:
        self._least_entries = least_entries
        self.entries = entries
        self.n_rows = selection.shape[0]
        self._reader = reader
        self._order: NDArray[np.intp] | None = None
        self._sorted = in_source_order(selection)
        if self._sorted is not selection.rows and selection.rows is not None:
            self._order = np.argsort(selection.rows, kind="stable")

    @property
    def rows(self) -> NDArray[np.intp] | None:
        """Rows of the source, ascending; None for all."""
        return self._sorted

    @property
    def repeats_rows(self) -> bool:
        """True if a row comes more than once."""
        return self._sorted is not None and bool((np.diff(self._sorted) == 0).any())

    def longest(self, tasks: Iterable[tuple[int, int]] | None = None) -> int:
        """Return the entries of the row that stores most, of all or of some tasks."""
        most = 0
        for start, stop in self.tasks() if tasks is None else tasks:
            rows = np.arange(start, stop, dtype=np.intp) if self._sorted is None else self._sorted[start:stop]
            most = max(most, int(self._reader.sizes(rows).max(initial=0)))
        return most

    def tasks(self, partial_nbytes: int = 0) -> list[tuple[int, int]]:
        """Return the start and stop of each task, in rows sorted as in the source.

        Parameters
        ----------
        partial_nbytes
            Bytes of the partial results of a task.
        """
        large = partial_nbytes >= LARGE
        n_tasks, longest = (N_LARGE_TASKS, LONGEST_LARGE_TASK) if large else (N_TASKS, LONGEST_TASK)
        step = min(max(SMALLEST_TASK, -(-self.n_rows // n_tasks)), longest)
        return [(start, min(start + step, self.n_rows)) for start in range(0, self.n_rows, step)]

    def groups(self, partial_nbytes: int = 0) -> list[list[tuple[int, int]]]:
        """Return the tasks of each group, as :meth:`tasks` has them."""
        tasks = self.tasks(partial_nbytes)
        size = GROUP if partial_nbytes < LARGE else LARGE_GROUP
        return [tasks[k : k + size] for k in range(0, len(tasks), size)]

    def blocks(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield the blocks of the task from `start` to `stop`."""
        rows = np.arange(start, stop, dtype=np.intp) if self._sorted is None else self._sorted[start:stop]
        ends = np.cumsum(np.maximum(self._reader.sizes(rows), self._least_entries))
        cuts = self._cuts(rows)
        first = 0
        while first < rows.size:
            done = ends[first - 1] if first else 0
            last = max(int(np.searchsorted(ends, done + self.entries, side="right")), first + 1)
            cut = int(cuts[np.searchsorted(cuts, last, side="right") - 1])
            last = cut if cut > first else last
            yield Rows(start + first, self.positions(start + first, start + last), rows[first:last])
            first = last

    def positions(self, start: int, stop: int) -> slice | NDArray[np.intp]:
        """Return the positions in the matrix of rows that are sorted as in the source."""
        return slice(start, stop) if self._order is None else self._order[start:stop]

    def _cuts(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return where blocks had best end, for nothing to be decoded twice; 0 and the number of rows among them."""
        pieces = self._reader.pieces(rows)
        if pieces is None:
            return np.arange(rows.size + 1)
        return np.concatenate([[0], np.flatnonzero(np.diff(pieces)) + 1, [rows.size]])
