"""What a pass reads from, and whether it leaves a compact copy for those that follow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from scanpy import logging as logg

from ..memory import ACCOUNTANT
from ..settings import settings
from .feed import Feed, SourceFeed
from .recent import RecentColumns, recent_feed, room
from .stage import NoRoomError, StageWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..io.source import CSRBlock
    from ..matrix import OOMMatrix
    from ..matrix.transforms import RowTotals
    from .choice import ColumnChoice
    from .plan import Plan, Rows

__all__ = ["Staging", "choose_feed", "keeps_columns", "stage_columns"]

IN_MEMORY = 2**25
"""Bytes of a stage that stays in memory, at most: a scratch file that was just written is read as fast, from the
system's cache, and takes nothing from the process."""

FEW = 256
"""Columns that are kept once they were brought into memory, at most."""


def choose_feed(matrices: Sequence[OOMMatrix]) -> Feed:
    """Return the narrowest thing from which all of these matrices, which share source and rows, can be read."""
    lead = matrices[0]
    needed: NDArray[np.bool_] | None = np.zeros(lead.source.shape[1], dtype=bool)
    for matrix in matrices:
        needed = _with_columns_of(matrix, needed)
    if (recent := recent_feed(lead, needed)) is not None:
        return recent
    copy = lead.copies.narrowest(needed)
    return copy if isinstance(copy, Feed) else SourceFeed(lead.source)


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


def stage_columns(matrix: OOMMatrix, feed: Feed, *, reuse: bool) -> NDArray[np.intp] | slice | None:
    """Tell which columns a pass over `matrix` stages: ascending numbers of some, `slice(None)`, or None for nothing.

    Those that are shown, where they are few and are known to be read again (`reuse`); all, where the source is slow
    to read.
    """
    source, shown = matrix.source, matrix.selection.columns
    if settings.stage == "off" or source.path is None or 0 in matrix.shape or matrix.copies.top().refused:
        return None
    fed = source.shape[1] if feed.columns is None else feed.columns.size
    if reuse and shown is not None and 2 * shown.size <= fed and not matrix.selection.repeats_columns:
        return np.sort(shown)
    return slice(None) if source.is_slow and isinstance(feed, SourceFeed) else None


def keeps_columns(matrix: OOMMatrix, feed: Feed) -> bool:
    """Tell whether the columns that a pass over `matrix` shows are so few that they are kept in memory."""
    shown = matrix.selection.columns
    if shown is None or matrix.source.path is None or 0 in matrix.shape or isinstance(feed, RecentColumns):
        return False
    few = shown.size <= min(FEW, matrix.source.shape[1] // 2) and not matrix.selection.repeats_columns
    return few and matrix.nbytes_in_memory <= room()


class Staging:
    """The stage that a pass writes on its way. Threads may add blocks at once.

    If there is no room for it, it is given up, which is said; the pass goes on.

    Parameters
    ----------
    matrix
        What is read.
    plan
        Its rows.
    columns
        As :func:`stage_columns` has it, but not None.
    """

    def __init__(self, matrix: OOMMatrix, plan: Plan, columns: NDArray[np.intp] | slice) -> None:
        self._matrix = matrix
        self.takes_all_columns = isinstance(columns, slice)
        self._lock = threading.Lock()
        self._no_room: NoRoomError | None = None
        chosen = None if isinstance(columns, slice) else columns
        in_memory = min(IN_MEMORY, ACCOUNTANT.available() // 16)
        self._writer = StageWriter(matrix.source, plan.rows, chosen, plan.n_rows, in_memory)

    def fetched(self, rows: Rows, raw: CSRBlock) -> None:
        """Stage what was fetched, if it is that which is staged."""
        if self.takes_all_columns:
            self._add(rows, raw.indptr, raw.indices, raw.data)

    def shown(self, rows: Rows, choice: ColumnChoice, shown: CSRBlock) -> None:
        """Stage what is shown, if it is that which is staged."""
        if not self.takes_all_columns:
            ordered = choice.ascending(shown)
            self._add(rows, ordered.indptr, ordered.indices, ordered.data)

    def _add(self, rows: Rows, indptr: NDArray[np.int64], indices: NDArray[np.int32], data: NDArray) -> None:
        if self._no_room is not None:
            return
        try:
            self._writer.add(rows.first, indptr, indices, data)
        except NoRoomError as error:
            with self._lock:  # space is given back at the end: others may be writing
                self._no_room = self._no_room or error

    def finish(self) -> None:
        """Leave the stage to all that derives from the matrix."""
        if self._no_room is not None:
            self._writer.discard()
            self._matrix.copies.top().refused = True
            logg.warning(
                f"There is no room for a compact copy of {self._matrix.source.location} ({self._no_room}): passes will "
                "read the file itself, which takes longer."
            )
            return
        copies = self._matrix.copies
        everything = self.takes_all_columns and self._matrix.selection.rows is None
        (copies.top() if everything else copies).add(self._writer.finish())

    def discard(self) -> None:
        """Give the space back."""
        self._writer.discard()
