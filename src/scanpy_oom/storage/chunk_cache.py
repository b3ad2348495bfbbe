"""Chunks that several reads share, kept until all of them have been served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from ..memory.fork_lock import fork_safe_lock
from .abc import Value
from .lru import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = ["SharedChunks"]

MOST = 64
"""Parts of a chunk that are told apart. More of them are not a pass."""


class SharedChunks(Generic[Value]):
    """Decoded chunks of an array that is read in pieces, by threads that are each somewhere else.

    A chunk is dropped as soon as each of its values has been asked for. So what is kept are chunks of which somebody
    still wants a part, however far others are ahead of him, and one pass over the array decodes each chunk once, as far
    as the capacity goes.

    Parameters
    ----------
    capacity
        Bytes to keep. Beyond, the chunks not used for longest are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._cache: LRUCache[NDArray[Value]] = LRUCache(capacity)
        self._lock = fork_safe_lock()
        self._served: dict[int, list[tuple[int, int]]] = {}

    def get(self, i: int) -> NDArray[Value] | None:
        """Give a chunk that is kept, or `None`."""
        return self._cache.get(i)

    def get_or_make(self, i: int, make: Callable[[], NDArray[Value]]) -> NDArray[Value]:
        """Give a chunk; if it is not kept, that of `make`, which one thread alone calls and which is kept then."""

        def with_size() -> tuple[NDArray[Value], int]:
            values = make()
            return values, values.nbytes

        return self._cache.get_or_make(i, with_size)

    def part(self, i: int, start: int, stop: int, make: Callable[[], NDArray[Value]]) -> NDArray[Value]:
        """Give the values from `start` to `stop` of a chunk, and keep the chunk if others are to come for the rest."""
        values = self.get_or_make(i, make)
        stop = min(stop, len(values))
        if self._is_served(i, start, stop, len(values)):
            self._cache.drop(i)
        return values[start:stop]

    def _is_served(self, i: int, start: int, stop: int, size: int) -> bool:
        """Note what was asked for, and tell whether that is all of the chunk now."""
        with self._lock:
            served = self._served.setdefault(i, [])
            if len(served) > MOST or any(start < end and begin < stop for begin, end in served):
                served.clear()  # it is read again from here on, or in no order
            if served and served[-1][1] == start:
                start = served.pop()[0]
            served.append((start, stop))
            if sum(stop - start for start, stop in served) < size:
                return False
            del self._served[i]
            return True

    def begin(self) -> None:
        """Forget what was asked for: a pass begins, which asks for everything again."""
        with self._lock:
            self._served.clear()

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._served.clear()
        self._cache.clear()
