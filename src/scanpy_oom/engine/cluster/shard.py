"""The rows of one source that a worker has read: copies of them, from which later passes are read."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from ...memory.ledger import ACCOUNTANT
from ...storage.arrays.blocks import stacked
from ..cache.compact_copy import CompactCopy, CompactCopyWriter, NoRoomError
from ..cache.policy import IN_MEMORY
from ..reader import Reader, SourceReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...storage.sources.base import CSRBlock, Source
    from ..column_selector import ColumnChoice
    from ..partition import Rows

__all__ = ["Shard", "ShardReader", "SpanWriter"]

_SHARE = 128
"""Parts of the memory limit of which a copy of a run of rows takes one at most, before it moves to scratch space."""


def _in_memory() -> int:
    return min(IN_MEMORY, ACCOUNTANT.available() // _SHARE)


class Shard:
    """The copies of rows of one source on this worker. Threads may call at once.

    Parameters
    ----------
    source
        The source, which stays open for them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.last_pass = 0
        """Number of the last pass that reads it."""
        self._copies: list[CompactCopy] = []
        self._lock = threading.Lock()
        _shards.add(self)

    def add(self, copy: CompactCopy) -> None:
        """Keep a copy."""
        with self._lock:
            self._copies.append(copy)

    def reader(self, rows: NDArray[np.intp], needed: NDArray[np.bool_] | None, *, caches: bool) -> Reader:
        """Return the narrowest thing from which rows can be read.

        Parameters
        ----------
        rows
            `(n_rows,)` rows of the source that will be read, ascending and each once.
        needed
            `(n_source_columns,)` columns that are needed; None for all.
        caches
            Whether rows that come from the source leave a copy.
        """
        with self._lock:
            copies = list(self._copies)
        narrow = [copy for copy in copies if copy.columns is not None and _holds(copy, rows, needed)]
        if narrow:
            return min(narrow, key=lambda copy: copy.nbytes)
        whole = [copy for copy in copies if copy.columns is None]
        missing = rows[_owners(whole, rows) < 0]
        writer = None
        if caches and missing.size and self.source.is_slow:
            writer = CompactCopyWriter(self.source, missing, None, missing.size, _in_memory())
        return ShardReader(self.source, whole, missing, writer)

    def drop(self, *, in_memory_only: bool = False) -> None:
        """Let go of copies; a pass that reads from one still does so."""
        with self._lock:
            self._copies = [copy for copy in self._copies if in_memory_only and not copy.takes_memory]

    @property
    def n_copies(self) -> int:
        """Number of copies."""
        return len(self._copies)


_shards: WeakSet[Shard] = WeakSet()


def _give_back() -> None:
    for shard in list(_shards):
        shard.drop(in_memory_only=True)


ACCOUNTANT.on_shortage(_give_back)


def _rows_of(copy: CompactCopy) -> NDArray[np.intp]:
    assert copy.rows is not None  # those of a shard name their rows
    return copy.rows


def _are_in(rows: NDArray[np.intp], held: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows are among those held; both ascend."""
    if not held.size:
        return np.zeros(rows.size, dtype=bool)
    places = np.minimum(np.searchsorted(held, rows), held.size - 1)
    return held[places] == rows


def _holds(copy: CompactCopy, rows: NDArray[np.intp], needed: NDArray[np.bool_] | None) -> bool:
    columns = copy.columns
    if needed is None or columns is None or np.count_nonzero(needed[columns]) < np.count_nonzero(needed):
        return False
    return bool(_are_in(rows, _rows_of(copy)).all())


def _owners(copies: Sequence[CompactCopy], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the copy that holds each row; -1 for none."""
    owners = np.full(rows.size, -1, dtype=np.intp)
    for k, copy in enumerate(copies):
        held = _rows_of(copy)
        if rows.size and held.size and held[0] <= rows[-1] and held[-1] >= rows[0]:
            owners[(owners < 0) & _are_in(rows, held)] = k
    return owners


class ShardReader(Reader):
    """Rows from copies that hold all columns, others from the source, of which it leaves a copy.

    Parameters
    ----------
    source
        What is read.
    copies
        Copies of some of its rows.
    missing
        Rows that are read and are in none of them, ascending.
    writer
        Writes the copy of these; None for none.
    """

    def __init__(
        self,
        source: Source,
        copies: Sequence[CompactCopy],
        missing: NDArray[np.intp],
        writer: CompactCopyWriter | None,
    ) -> None:
        self._rest = SourceReader(source)
        self._copies = copies
        self._missing = missing
        self._writer = writer
        self._n_written = 0

    @property
    def _is_alone(self) -> bool:
        """True if no row comes from a copy."""
        return not self._copies

    def _from(self, owner: int) -> Reader:
        return self._rest if owner < 0 else self._copies[owner]

    def _runs(self, rows: NDArray[np.intp]) -> list[tuple[int, slice]]:
        """Return runs of rows that come from the same copy, with its number."""
        if self._is_alone or not rows.size:
            return [(-1, slice(0, rows.size))]
        owners = _owners(self._copies, rows)
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), rows.size]
        return [(int(owners[a]), slice(a, b)) for a, b in pairwise(cuts)]

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        if self._is_alone:
            return self._rest.sizes(rows)
        if not rows.size:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([self._from(owner).sizes(rows[some]) for owner, some in self._runs(rows)])

    def pieces(self, rows: NDArray[np.intp]) -> NDArray[np.integer] | None:
        if self._is_alone or not rows.size:
            return None
        found, first = np.empty(rows.size, dtype=np.int64), 0
        for owner, some in self._runs(rows):
            own = self._from(owner).pieces(rows[some])
            found[some] = first + (np.arange(some.stop - some.start) if own is None else own - own.min())
            first = int(found[some].max()) + 1
        return found

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        return stacked([self._read(owner, rows[some], choice) for owner, some in self._runs(rows)])

    def _read(self, owner: int, rows: NDArray[np.intp], choice: ColumnChoice | None) -> CSRBlock:
        if owner >= 0:
            return self._copies[owner].read(rows, choice)
        raw = self._rest.read(rows)
        if self._writer is not None and rows.size:
            self._write(rows, raw)
        return raw if choice is None else choice.select(raw)

    def _write(self, rows: NDArray[np.intp], raw: CSRBlock) -> None:
        """Add rows to the copy; give it up where there is no room."""
        assert self._writer is not None
        try:
            self._writer.add(int(np.searchsorted(self._missing, rows[0])), raw.indptr, raw.indices, raw.data)
            self._n_written += rows.size
        except NoRoomError:
            self.discard()

    def leave_copy(self, shard: Shard) -> None:
        """Leave the copy, if all of its rows have been read."""
        if self._writer is None:
            return
        if self._n_written == self._missing.size:
            shard.add(self._writer.finish())
            self._writer = None
        self.discard()

    def discard(self) -> None:
        """Give the space of a copy back that is not left."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None


class SpanWriter:
    """Writes a copy of the few columns that a pass shows in a run of rows, where they will be read again.

    Parameters
    ----------
    shard
        Where it is left.
    rows
        The rows, ascending and each once.
    columns
        The columns, ascending.
    first
        Number of the first row among all rows of the pass.
    """

    takes_all_columns = False

    def __init__(self, shard: Shard, rows: NDArray[np.intp], columns: NDArray[np.intp], first: int) -> None:
        self._shard = shard
        self._first = first
        self._writer: CompactCopyWriter | None = CompactCopyWriter(shard.source, rows, columns, rows.size, _in_memory())

    def fetched(self, rows: Rows, raw: CSRBlock) -> None:
        """Take nothing of what is not shown."""

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Write what is shown; give it up where there is no room."""
        if self._writer is None:
            return
        ordered = choice.ascending(shown)
        try:
            self._writer.add(rows.first - self._first, ordered.indptr, ordered.indices, ordered.data)
        except NoRoomError:
            self.discard()

    def finish(self) -> None:
        """Leave the copy."""
        if self._writer is not None:
            self._shard.add(self._writer.finish())

    def discard(self) -> None:
        """Give the space back."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
