"""The reader of a pass, and the compact copy that it leaves for later passes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ... import messages
from ...memory.ledger import ACCOUNTANT
from ...settings import settings
from ..reader import Reader, SourceReader
from .columns import FEW, ColumnKeeper, RecentColumns, recent_reader, room
from .compact_copy import CompactCopyWriter, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...matrix import OOMMatrix
    from ...matrix.transforms import RowTotals
    from ...storage.abc import Floats
    from ...storage.sources.base import CSRBlock
    from ..column_selector import ColumnChoice
    from ..partition import Partition, Rows

__all__ = [
    "CacheWriter",
    "CacheWriterBesideColumns",
    "choose_reader",
    "columns_to_cache",
    "keeps_columns",
    "needed_columns",
]

IN_MEMORY = 2**25
"""Bytes of a compact copy that stays in memory, at most: a scratch file that was just written is read as fast, from the
system's cache, and takes nothing from the process."""


def choose_reader(matrices: Sequence[OOMMatrix]) -> Reader:
    """Return the narrowest thing from which all of these matrices, which share source and rows, can be read."""
    lead = matrices[0]
    needed = needed_columns(matrices)
    if (recent := recent_reader(lead, needed)) is not None:
        return recent
    copy = lead.copies.narrowest(needed)
    return copy if isinstance(copy, Reader) else SourceReader(lead.source)


def needed_columns(matrices: Sequence[OOMMatrix]) -> NDArray[np.bool_] | None:
    """Return which columns of their source these matrices follow from, `(n_source_columns,)`; None for all."""
    needed: NDArray[np.bool_] | None = np.zeros(matrices[0].source.shape[1], dtype=bool)
    for matrix in matrices:
        needed = _with_columns_of(matrix, needed)
    return needed


def _with_columns_of(matrix: OOMMatrix, needed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Add to the columns that are needed those that are shown, and those of row totals that are not known."""
    if needed is None or matrix.selection.columns is None:
        return None
    needed[matrix.selection.columns] = True
    for totals in missing_totals(matrix):
        if not totals.counted.size:
            return None
        needed |= totals.counted
    return needed


def missing_totals(matrix: OOMMatrix) -> list[RowTotals]:
    """Return the row totals of the chain that are not known for all rows."""
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    return [totals for totals in matrix.chain.totals if np.isnan(totals.values[rows]).any()]


def columns_to_cache(matrix: OOMMatrix, reader: Reader, *, reuse: bool) -> NDArray[np.intp] | slice | None:
    """Return which columns a pass over `matrix` caches: ascending numbers of some, `slice(None)`, or None for nothing.

    Those that are shown, where they are few and are known to be read again (`reuse`); all, where the source is slow
    to read.
    """
    source, shown = matrix.source, matrix.selection.columns
    if settings.cache == "off" or source.path is None or 0 in matrix.shape or matrix.copies.top().refused:
        return None
    fed = source.shape[1] if reader.columns is None else reader.columns.size
    if reuse and shown is not None and 2 * shown.size <= fed and not matrix.selection.repeats_columns:
        return np.sort(shown)
    return slice(None) if source.is_slow and isinstance(reader, SourceReader) else None


def keeps_columns(matrix: OOMMatrix, reader: Reader) -> bool:
    """Return whether the columns that a pass over `matrix` shows are so few that they are kept in memory."""
    shown = matrix.selection.columns
    if shown is None or matrix.source.path is None or 0 in matrix.shape or isinstance(reader, RecentColumns):
        return False
    few = shown.size <= min(FEW, matrix.source.shape[1] // 2) and not matrix.selection.repeats_columns
    return few and matrix.nbytes_in_memory <= room()


class Keeper(Protocol):
    """Keeps something of what a pass fetches, for later passes. Threads may add blocks at once."""

    @property
    def takes_all_columns(self) -> bool:
        """True if it keeps all columns that are fetched, not only those that are shown."""

    def fetched(self, rows: Rows, raw: CSRBlock) -> None:
        """Take what was fetched of some rows."""

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Take what is shown of them."""

    def finish(self) -> None:
        """Leave what was kept, once all rows have come."""

    def discard(self) -> None:
        """Give the space back."""


class CacheWriter:
    """Writes the compact copy of a pass. Threads may add blocks at once.

    If there is no room for it, it is given up, which is said; the pass goes on.

    Parameters
    ----------
    matrix
        What is read.
    partition
        Its rows.
    columns
        As :func:`columns_to_cache` has it, but not None.
    """

    def __init__(self, matrix: OOMMatrix, partition: Partition, columns: NDArray[np.intp] | slice) -> None:
        self._matrix = matrix
        self.takes_all_columns = isinstance(columns, slice)
        self._lock = threading.Lock()
        self._no_room: NoRoomError | None = None
        chosen = None if isinstance(columns, slice) else columns
        in_memory = min(IN_MEMORY, ACCOUNTANT.available() // 16)
        self._writer = CompactCopyWriter(matrix.source, partition.rows, chosen, partition.n_rows, in_memory)

    def fetched(self, rows: Rows, raw: CSRBlock) -> None:
        """Cache what was fetched, if it is that which is cached."""
        if self.takes_all_columns:
            self._add(rows, raw.indptr, raw.indices, raw.data)

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Cache what is shown, if it is that which is cached."""
        if not self.takes_all_columns:
            ordered = choice.ascending(shown)
            self._add(rows, ordered.indptr, ordered.indices, ordered.data)

    def _add(self, rows: Rows, indptr: NDArray[np.int64], indices: NDArray[np.int32], data: Floats) -> None:
        if self._no_room is not None:
            return
        try:
            self._writer.add(rows.first, indptr, indices, data)
        except NoRoomError as error:
            with self._lock:  # space is given back at the end: others may be writing
                self._no_room = self._no_room or error

    def finish(self) -> None:
        """Leave the copy to all that derives from the matrix."""
        if self._no_room is not None:
            self._writer.discard()
            self._matrix.copies.top().refused = True
            messages.warning(
                f"scanpy-oom keeps no compact copy of {self._matrix.source.location}: {self._no_room}. "
                "Later steps read the file again, which takes longer."
            )
            return
        copies = self._matrix.copies
        everything = self.takes_all_columns and self._matrix.selection.rows is None
        (copies.top() if everything else copies).add(self._writer.finish())

    def discard(self) -> None:
        """Give the space back."""
        self._writer.discard()


class CacheWriterBesideColumns(CacheWriter):
    """The cache writer of a pass that shows few columns, which are kept as well.

    Parameters
    ----------
    matrix
        What is read.
    partition
        Its rows.
    keeper
        Keeps the columns.
    """

    def __init__(self, matrix: OOMMatrix, partition: Partition, keeper: ColumnKeeper) -> None:
        super().__init__(matrix, partition, slice(None))
        self._keeper = keeper

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Keep what is shown."""
        self._keeper.shown(rows, choice, shown)

    def finish(self) -> None:
        """Leave both."""
        self._keeper.finish()
        super().finish()

    def discard(self) -> None:
        """Give the space back."""
        self._keeper.discard()
        super().discard()
