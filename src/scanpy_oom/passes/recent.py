"""Columns that were read a moment ago are kept in memory, so that the next plot of the same genes reads nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

import numpy as np
from scipy import sparse

from ..io.source import CSRBlock
from ..memory import ACCOUNTANT
from ..settings import settings
from .feed import Feed
from .pieces import narrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..io.cache import LRUCache
    from ..io.source import Source
    from ..matrix import OOMMatrix
    from .choice import ColumnChoice
    from .plan import Rows

__all__ = ["ColumnKeeper", "RecentColumns", "forget", "recent_feed"]

CAPACITY = 2**26
"""Bytes of the columns that are kept of the rows of one selection, at most."""

_filled: WeakSet[LRUCache] = WeakSet()


class _Column(NamedTuple):
    """What is stored in a column: rows of the source, ascending, and the values there."""

    rows: NDArray[np.uint32]
    values: NDArray

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.values.nbytes


def room() -> int:
    """Return how many bytes of columns may be kept: a small part of the limit, and of what is left of it."""
    return min(CAPACITY, settings.memory_limit // 16, ACCOUNTANT.available() // 4)


def forget() -> None:
    """Give all columns back, for something that needs the memory."""
    for cache in list(_filled):
        cache.clear()
        _filled.discard(cache)


def recent_feed(matrix: OOMMatrix, needed: NDArray[np.bool_] | None) -> RecentColumns | None:
    """Return a feed of the columns that are needed, if all of them are at hand for the rows of `matrix`.

    Parameters
    ----------
    matrix
        What will be read.
    needed
        `(n_source_columns,)` booleans; None for all.
    """
    if needed is None:
        return None
    columns = np.flatnonzero(needed)
    for cache in matrix.copies.recent_columns():
        if len(cache) < columns.size:
            continue
        found = [stored for column in columns if (stored := cache.get(int(column))) is not None]
        if found and len(found) == columns.size:
            return RecentColumns(matrix.source, columns, found)
    return None


class RecentColumns(Feed):
    """Some columns of a source, from memory.

    Parameters
    ----------
    source
        The source, which must be open for them to be read.
    columns
        Their numbers, ascending.
    stored
        What is stored in each.
    """

    def __init__(self, source: Source, columns: NDArray[np.intp], stored: Sequence[_Column]) -> None:
        self.columns: NDArray[np.intp] = columns
        self._source = source
        self._stored = stored

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        sizes = np.zeros(rows.size, dtype=np.int64)
        for column in self._stored:
            positions, _ = _within(column, rows)
            sizes[positions] += 1
        return sizes

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        self._source.check_open()
        parts = [_within(column, rows) for column in self._stored]
        indptr = np.cumsum([0, *(positions.size for positions, _ in parts)])
        positions, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        shape = (rows.size, self.columns.size)
        block = sparse.csc_matrix((values.astype(np.float64), positions, indptr), shape=shape).tocsr()
        raw = CSRBlock(block.indptr.astype(np.int64), block.indices.astype(np.int32, copy=False), block.data)
        return raw if choice is None else choice.select(raw)


def _within(column: _Column, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray]:
    """Return at which positions of `rows`, ascending and each once, a column stores something, and what."""
    if not rows.size:
        return np.empty(0, dtype=np.intp), column.values[:0]
    first, last = int(rows[0]), int(rows[-1])
    there = slice(*np.searchsorted(column.rows, [first, last + 1]))
    stored, values = column.rows[there].astype(np.intp), column.values[there]
    if last - first == rows.size - 1:
        return stored - first, values
    positions = np.searchsorted(rows, stored)
    shown = rows[positions] == stored
    return positions[shown], values[shown]


class ColumnKeeper:
    """Keeps the columns that a pass shows. Threads may add blocks at once.

    If they turn out to take more than there is room for, none is kept.

    Parameters
    ----------
    matrix
        What is read.
    """

    takes_all_columns = False

    def __init__(self, matrix: OOMMatrix) -> None:
        shown = matrix.selection.columns
        assert shown is not None
        self._columns = np.sort(shown)
        self._cache = matrix.copies.recent
        self._lock = threading.Lock()
        self._parts: list[tuple[int, NDArray[np.uint32], NDArray[np.int32], NDArray]] = []
        self._room = room()
        self._nbytes = 0
        self._holding = ACCOUNTANT.hold(self, "caches")

    def fetched(self, rows: Rows, raw: CSRBlock) -> None:
        """Leave what is not shown."""

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Keep what is shown of these rows."""
        if self._nbytes > self._room:
            return
        ordered = choice.ascending(shown)
        numbers = np.repeat(rows.source_rows.astype(np.uint32), np.diff(ordered.indptr))
        part = (rows.first, numbers, ordered.indices.copy(), narrow(ordered.data).copy())
        with self._lock:
            self._parts.append(part)
            self._nbytes += sum(array.nbytes for array in part[1:])
            if self._nbytes > self._room:
                self._parts = []
            self._holding.set(self._nbytes if self._parts else 0)

    def finish(self) -> None:
        """Leave the columns to all that shows the same rows, or some of them."""
        if self._nbytes > self._room:
            return
        self._parts.sort(key=lambda part: part[0])
        _, rows, indices, values = zip(*self._parts, strict=True) if self._parts else ((), (), (), ())
        order = np.argsort(np.concatenate([np.empty(0, dtype=np.int32), *indices]), kind="stable")
        counts = np.bincount(np.concatenate([np.empty(0, dtype=np.int32), *indices]), minlength=self._columns.size)
        ends = np.cumsum(counts)
        all_rows = np.concatenate([np.empty(0, dtype=np.uint32), *rows])[order]
        all_values = np.concatenate([np.empty(0, dtype=np.uint8), *values])[order]
        self.discard()
        self._cache.capacity = self._room
        for column, start, stop in zip(self._columns, ends - counts, ends, strict=True):
            kept = _Column(all_rows[start:stop].copy(), narrow(all_values[start:stop]).copy())
            self._cache.put(int(column), kept, kept.nbytes)
        _filled.add(self._cache)

    def discard(self) -> None:
        """Give the space back."""
        self._parts = []
        self._holding.set(0)
