"""The registry of cached copies, where all that derives from a matrix finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet, ref

import numpy as np

from ..memory.fork_lock import fork_safe_lock
from ..storage.lru import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["Copies", "Copy", "drop_copies"]


class Copy(Protocol):
    """A compact copy of stored values."""

    @property
    def columns(self) -> NDArray[np.intp] | None:
        """Columns of the source that it holds, ascending; None for all."""

    @property
    def rows(self) -> NDArray[np.intp] | None:
        """Rows of the source that it holds, ascending; None for all."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


class CopyByColumns(Protocol):
    """A copy from which columns are read one by one."""

    @property
    def takes_memory(self) -> bool:
        """True if it is in memory, or in a scratch file that is."""

    def holds(self, columns: NDArray[np.intp]) -> bool:
        """Return whether it holds all of these columns of the source."""


class Loop:
    """Reads of a source little by little: single columns, rows, or parts of the rows.

    Attributes
    ----------
    passes
        What reads of single columns in a row come to, in passes over all rows.
    refused
        Whether there was no room for a copy by columns, so that none is tried again.
    lock
        Held by the thread that makes a copy, for which others wait.
    bytes_read
        What was fetched from the file for parts of the rows.
    span
        First and last of these rows.
    rows_refused
        Whether there was no room for a copy by rows of a source that stores columns.
    rows
        Blocks of rows that were read last.
    last_block
        Number of the block in which the row lies that was read last.
    """

    __slots__ = ("bytes_read", "last_block", "lock", "passes", "refused", "rows", "rows_refused", "span")

    def __init__(self) -> None:
        self.passes = 0.0
        self.refused = False
        self.lock = fork_safe_lock()
        self.bytes_read = 0
        self.span: tuple[int, int] | None = None
        self.rows: LRUCache[Any] = LRUCache(0)
        self.last_block = -2
        self.rows_refused = False

    def add(self, first: int, last: int, nbytes: int) -> None:
        """Take note of bytes that were fetched for some rows from the first to the last."""
        low, high = self.span or (first, last)
        self.span = min(low, first), max(high, last)
        self.bytes_read += nbytes

    def has_been_at(self, first: int, last: int) -> bool:
        """Return whether rows lie among those that were read, and do not go on where these ended."""
        return self.span is not None and first <= self.span[1] and last >= self.span[0]


class Interest:
    """A token that matrices with the same :class:`Copies` hold; it is gone when they are."""

    __slots__ = ("__weakref__",)


class Copies:
    """The copy made of the rows (and columns) of one selection, and those of the selections that it came from.

    A matrix shares it with what transforms make of it; a subset has its own, below that of the whole. So a copy lives
    as long as a matrix that may be read from it. Selections of which no matrix is left, nor a copy, are passed over, so
    that it does not matter how many there were.

    Parameters
    ----------
    above
        Those of the matrix of which this one is a subset.
    same_rows
        Whether it shows all rows of that one.

    Attributes
    ----------
    recent
        What passes keep of columns that were read last, for all selections with the same rows.
    refused
        Whether there was no room for a copy, so that none is tried again.
    by_columns
        The copy by columns, if there is one.
    loop
        What is known of single columns of the source that are read one after the other.
    """

    __slots__ = ("__weakref__", "_above", "_interest", "_own", "by_columns", "loop", "recent", "refused")

    def __init__(self, above: Copies | None = None, *, same_rows: bool = False) -> None:
        self._above = above
        self._interest: ref[Interest] | None = None
        self.recent: LRUCache[Any] = above.recent if above is not None and same_rows else LRUCache(0)
        self._own: list[Copy] = []
        self.by_columns: CopyByColumns | None = None
        self.loop: Loop = Loop() if above is None else above.loop
        self.refused = False
        if above is not None:
            above._pass_over()

    def interest(self) -> Interest:
        """Return what a matrix is to hold as long as it may want a copy."""
        held = None if self._interest is None else self._interest()
        if held is None:
            held = Interest()
            self._interest = ref(held)
        return held

    def add(self, copy: Copy) -> None:
        """Keep a copy of all that the selection shows."""
        self._own.append(copy)
        _with_copies.add(self)
        if copy.columns is not None:
            self._above = None  # nobody who comes this way needs more than that

    def keep_by_columns(self, copy: CopyByColumns) -> None:
        """Keep a copy by columns of all that the selection shows, or of more."""
        self.by_columns = copy
        _with_copies.add(self)

    def find_by_columns(self, columns: NDArray[np.intp]) -> Any:
        """Return the nearest copy by columns that holds these columns of the source; None if there is none."""
        for level in self._upwards():
            copy = level.by_columns
            if copy is not None and copy.holds(columns):
                return copy
        return None

    def holder(self, copy: Copy) -> Copies | None:
        """Return those among which a copy is; None if it is gone."""
        return next((level for level in self._upwards() if copy in level._own), None)

    def _is_idle(self) -> bool:
        """Return whether there is nothing here, and never will be."""
        nobody = self._interest is None or self._interest() is None
        return nobody and not self._own and self.by_columns is None and not len(self.recent) and self._above is not None

    def _pass_over(self) -> Copies | None:
        """Forget the idle ones right above; return what is above then."""
        above = self._above
        while above is not None and above._is_idle():
            above = above._above
        self._above = above
        return above

    def _upwards(self) -> Iterator[Copies]:
        """Go through this and all above it, nearest first."""
        level: Copies | None = self
        while level is not None:
            yield level
            level = level._pass_over()

    def top(self) -> Copies:
        """Return those of the whole source."""
        for level in self._upwards():
            top = level
        return top

    def __iter__(self) -> Iterator[Copy]:
        """Go through the copies, nearest first."""
        for level in self._upwards():
            yield from level._own

    def recent_columns(self) -> Iterator[LRUCache[Any]]:
        """Go through the stores of columns that were read last, nearest first."""
        last = None
        for level in self._upwards():
            if level.recent is not last:
                yield level.recent
            last = level.recent

    def narrowest(self, needed: NDArray[np.bool_] | None) -> Copy | None:
        """Return the copy with the fewest columns that holds those needed; None if there is none.

        Parameters
        ----------
        needed
            `(n_source_columns,)` booleans; None for all.
        """
        fitting = [copy for copy in self if copy.columns is None or _holds(copy.columns, needed)]
        return min(fitting, key=lambda copy: np.inf if copy.columns is None else copy.columns.size, default=None)

    def __reduce__(self) -> tuple[type[Copies], tuple[()]]:
        return Copies, ()


_with_copies: WeakSet[Copies] = WeakSet()


def drop_copies(is_unwanted: Callable[[Copy | CopyByColumns], bool]) -> None:
    """Let go of some of all copies; a pass that reads from one still does so."""
    for copies in list(_with_copies):
        copies._own = [copy for copy in copies._own if not is_unwanted(copy)]
        if copies.by_columns is not None and is_unwanted(copies.by_columns):
            copies.by_columns = None


def _holds(columns: NDArray[np.intp], needed: NDArray[np.bool_] | None) -> bool:
    return needed is not None and np.count_nonzero(needed[columns]) == np.count_nonzero(needed)
