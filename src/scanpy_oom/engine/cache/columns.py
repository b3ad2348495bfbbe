"""Columns that were read a moment ago are kept in memory, so that the next plot of the same genes reads nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from ...kernels import count_before
from ...memory.ledger import ACCOUNTANT
from ...settings import settings
from ...storage.sources.base import CSRBlock
from ..reader import Reader
from .row_group import narrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...matrix import OOMMatrix
    from ...storage.abc import Values
    from ...storage.sources.base import Source
    from ..column_selector import ColumnChoice
    from ..partition import Rows

__all__ = ["FEW", "ColumnKeeper", "RecentColumns", "StoredColumn", "recent_columns", "recent_reader"]

CAPACITY = 2**26
"""Bytes of the columns that are kept of the rows of one selection, at most."""


FEW = 256
"""Columns that are kept once they were brought into memory, at most."""

_ENTRY = 24
"""Bytes of an entry of a column that was read, and of what is made of it."""


class StoredColumn(NamedTuple):
    """Stored values of a column, with their rows in the source, ascending."""

    rows: NDArray[np.integer]
    values: Values

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.values.nbytes


def room() -> int:
    """Return how many bytes of columns may be kept: a small part of the limit, and of what is left of it."""
    return min(CAPACITY, settings.memory_limit // 16, ACCOUNTANT.available() // 4)


def recent_reader(matrix: OOMMatrix, needed: NDArray[np.bool_] | None) -> RecentColumns | None:
    """Return a reader of the columns that are needed, if all of them are at hand for the rows of `matrix`.

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
    if not 0 < columns.size <= FEW:
        return None
    found = recent_columns(matrix, columns)
    return None if found is None else RecentColumns(matrix.source, columns, found)


def recent_columns(matrix: OOMMatrix, columns: NDArray[np.intp]) -> list[StoredColumn] | None:
    """Return what some columns of the source store, ascending, for the rows of `matrix`; None if it is not at hand.

    It was kept when it was read last, or is read from a copy by columns.
    """
    for cache in matrix.copies.recent_columns():
        if len(cache) < columns.size:
            continue
        found = [stored for column in columns if (stored := cache.get(int(column))) is not None]
        if found and len(found) == columns.size:
            return found
    copy = matrix.copies.find_by_columns(columns)
    if copy is None or (columns.size > 1 and copy.entries(columns) * _ENTRY > ACCOUNTANT.available() // 4):
        return None
    read: list[StoredColumn] = copy.read(columns)
    return read


class RecentColumns(Reader):
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

    at_hand = True

    def __init__(self, source: Source, columns: NDArray[np.intp], stored: Sequence[StoredColumn]) -> None:
        self.columns: NDArray[np.intp] = columns
        self._source = source
        self._stored = stored

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.full(rows.size, self.columns.size, dtype=np.int64)

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        self._source.check_open()
        parts = [within(column, rows) for column in self._stored]
        if len(parts) == 1:
            raw = _single(*parts[0], rows.size)
            return raw if choice is None else choice.select(raw)
        indptr = np.cumsum([0, *(positions.size for positions, _ in parts)])
        positions, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        shape = (rows.size, self.columns.size)
        block = sparse.csc_matrix((values.astype(np.float64), positions, indptr), shape=shape).tocsr()
        raw = CSRBlock(block.indptr.astype(np.int64), block.indices.astype(np.int32, copy=False), block.data)
        return raw if choice is None else choice.select(raw)


def _single(positions: NDArray[np.intp], values: Values, n_rows: int) -> CSRBlock:
    """Return rows of one column, which stores some values at ascending positions."""
    before = np.empty(n_rows + 1, dtype=np.int32)
    count_before(positions.astype(np.int32), before)
    return CSRBlock(before.astype(np.int64), np.zeros(positions.size, dtype=np.int32), values.astype(np.float64))


def within(column: StoredColumn, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Values]:
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
        self._parts: list[tuple[int, NDArray[np.uint32], NDArray[np.int32], Values]] = []
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
            kept = StoredColumn(all_rows[start:stop].copy(), narrow(all_values[start:stop]).copy())
            self._cache.put(int(column), kept, kept.nbytes)

    def discard(self) -> None:
        """Give the space back."""
        self._parts = []
        self._holding.set(0)
