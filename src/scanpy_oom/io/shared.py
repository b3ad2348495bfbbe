"""Chunks that several reads share, kept until all of them have been served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cache import LRUCache
from .locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["SharedChunks"]


class SharedChunks:
    """Decoded chunks of an array that is read in pieces, by threads that are each somewhere else.

    A chunk is dropped as soon as each of its values has been asked for. So what is kept are chunks of which somebody
    still wants a part, however far others are ahead of him, and a pass over the array decodes each chunk once.

    Parameters
    ----------
    capacity
        Bytes to keep. Beyond, the chunks not used for longest are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._cache: LRUCache[NDArray[Any]] = LRUCache(capacity)
        self._lock = ForkSafeLock()
        self._served: dict[int, list[tuple[int, int]]] = {}

    def get(self, i: int) -> NDArray[Any] | None:
        """Give a chunk that is kept, or `None`."""
        return self._cache.get(i)

    def get_or_make(self, i: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Give a chunk; if it is not kept, that of `make`, which one thread alone calls and which is kept then."""

        def with_size() -> tuple[NDArray[Any], int]:
            values = make()
            return values, values.nbytes

        return self._cache.get_or_make(i, with_size)

    def part(self, i: int, start: int, stop: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Give the values from `start` to `stop` of a chunk, and keep the chunk if others are to come for the rest."""
        values = self.get_or_make(i, make)
        stop = min(stop, len(values))
        with self._lock:
            served = self._served.setdefault(i, [])
            if any(start < other_stop and other_start < stop for other_start, other_stop in served):
                served.clear()  # it is read again from here on
            served.append((start, stop))
            if sum(stop - start for start, stop in served) == len(values):
                del self._served[i]
                self._cache.drop(i)
        return values[start:stop]

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._served.clear()
        self._cache.clear()
