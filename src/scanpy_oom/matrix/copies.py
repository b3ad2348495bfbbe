"""Where compact copies of a matrix's stored values hang, so that all that derives from the matrix finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..io.cache import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["Copies", "Copy"]


class Copy(Protocol):
    """A compact copy of stored values."""

    @property
    def columns(self) -> NDArray[np.intp] | None:
        """Columns of the source that it holds, ascending; None for all."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


class Copies:
    """The copy made of the rows (and columns) of one selection, and those of the selections that it came from.

    A matrix shares it with what transforms make of it; a subset has its own, below that of the whole. So a copy lives
    as long as a matrix that may be read from it.

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
    """

    __slots__ = ("_above", "_own", "recent", "refused")

    def __init__(self, above: Copies | None = None, *, same_rows: bool = False) -> None:
        self._above = above
        self.recent: LRUCache[Any] = above.recent if above is not None and same_rows else LRUCache(0)
        self._own: list[Copy] = []
        self.refused = False

    def add(self, copy: Copy) -> None:
        """Keep a copy of all that the selection shows."""
        self._own.append(copy)
        if copy.columns is not None:
            self._above = None  # nobody who comes this way needs more than that

    def top(self) -> Copies:
        """Return those of the whole source."""
        return self if self._above is None else self._above.top()

    def __iter__(self) -> Iterator[Copy]:
        """Go through the copies, nearest first."""
        yield from self._own
        if self._above is not None:
            yield from self._above

    def recent_columns(self) -> Iterator[LRUCache[Any]]:
        """Go through the stores of columns that were read last, nearest first."""
        yield self.recent
        if self._above is not None:
            for recent in self._above.recent_columns():
                if recent is not self.recent:
                    yield recent

    def narrowest(self, needed: NDArray[np.bool_] | None) -> Copy | None:
        """Return the copy with the fewest columns that holds those needed; None if there is none.

        Parameters
        ----------
        needed
            `(n_source_columns,)` booleans; None for all.
        """
        fitting = [copy for copy in self if copy.columns is None or _holds(copy.columns, needed)]
        return min(fitting, key=lambda copy: np.inf if copy.columns is None else copy.columns.size, default=None)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return Copies, ()


def _holds(columns: NDArray[np.intp], needed: NDArray[np.bool_] | None) -> bool:
    return needed is not None and np.count_nonzero(needed[columns]) == np.count_nonzero(needed)
