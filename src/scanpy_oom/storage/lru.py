"""A small store of what was decoded last."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from ..memory.fork_lock import fork_safe_lock
from ..memory.ledger import ACCOUNTANT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

__all__ = ["LRUCache"]

T = TypeVar("T")

_all: WeakSet[LRUCache[Any]] = WeakSet()


def clear_all() -> None:
    """Drop all that is kept, for something that needs the memory."""
    for cache in list(_all):
        cache.clear()


ACCOUNTANT.on_shortage(clear_all)


class LRUCache(Generic[T]):
    """Keep the values used last, up to a number of bytes. Threads may call at once.

    Parameters
    ----------
    capacity
        Bytes to keep. The value stored last is kept whatever its size.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self._lock = fork_safe_lock()
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._holding = ACCOUNTANT.hold(self, "caches")
        self._turns: dict[Hashable, AbstractContextManager[object]] = {}
        _all.add(self)

    def __len__(self) -> int:
        """Count of kept values."""
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """Give the value of `key`, or `None`."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: T, nbytes: int) -> None:
        """Store a value of `nbytes`, and drop those not used for longest."""
        with self._lock:
            if key in self._entries:
                self.nbytes -= self._entries.pop(key)[1]
            self._entries[key] = (value, nbytes)
            self.nbytes += nbytes
            while self.nbytes > self.capacity and len(self._entries) > 1:
                _, (_, dropped) = self._entries.popitem(last=False)
                self.nbytes -= dropped
            self._holding.set(self.nbytes)

    def drop(self, key: Hashable) -> None:
        """Let go of the value of `key`, if there is one."""
        with self._lock:
            if key in self._entries:
                self.nbytes -= self._entries.pop(key)[1]
                self._holding.set(self.nbytes)

    def get_or_make(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """Give the value of `key`; if there is none, that of `make`, with its bytes, which one thread alone calls."""
        with self._lock:
            turn = self._turns.setdefault(key, fork_safe_lock())
        try:
            with turn:
                value = self.get(key)
                if value is None:
                    value, nbytes = make()
                    self.put(key, value, nbytes)
                return value
        finally:
            with self._lock:
                self._turns.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0
            self._holding.set(0)
