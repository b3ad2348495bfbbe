"""The count of the bytes that are read."""

from __future__ import annotations

from ..memory.fork_lock import fork_safe_lock

__all__ = ["ByteCounter"]


class ByteCounter:
    """A running count of bytes that threads add to."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._total = 0

    def add(self, n: int) -> None:
        """Add `n` bytes."""
        with self._lock:
            self._total += n

    @property
    def total(self) -> int:
        """The bytes counted so far."""
        return self._total
