"""Memory of blocks, used again by the blocks that follow.

A block is some megabytes, made and dropped hundreds of times in a pass. The C library gives memory of that size back to
the system at once, and the system clears each page before it lends it again: two fifths of a pass over a cached
copy. Here what a block leaves behind is kept for as long as passes run.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .fork_lock import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = ["BUFFERS", "Buffers"]

SMALLEST = 2**16
"""Bytes below which the C library keeps memory by itself."""


class _Lease:
    """Owner of the memory of an array: it gives the memory back once nothing refers to the array."""

    __slots__ = ("__array_interface__", "_buffers", "_memory")

    def __init__(self, buffers: Buffers, memory: NDArray[np.uint8]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._buffers = buffers
        self._memory = memory

    def __del__(self) -> None:
        self._buffers._give_back(self._memory)


class Buffers:
    """Lends memory for arrays, and keeps what comes back while passes run.

    No more is held in all than was lent at a time. Threads may call at once, also while the garbage collector runs.
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock(reentrant=True)  # what is collected while it is held gives memory back
        self._users = 0
        self._lent = self._most_lent = self._kept = 0
        self._free: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept for arrays to come."""
        return self._kept

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep memory within the context."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._kept, self._most_lent = 0, self._lent
                    self._free.clear()

    def empty(self, n: int, dtype: DTypeLike) -> np.ndarray:
        """Return an array of `n` values, with what memory happens to hold."""
        dtype = np.dtype(dtype)
        nbytes = n * dtype.itemsize
        if nbytes < SMALLEST or not self._users:
            return np.empty(n, dtype)
        # one size for blocks of about one size; pages that none has touched are no memory
        size = 1 << (nbytes - 1).bit_length()
        return np.asarray(_Lease(self, self._take(size)))[:nbytes].view(dtype)

    def _take(self, size: int) -> NDArray[np.uint8]:
        with self._lock:
            self._lent += size
            self._most_lent = max(self._most_lent, self._lent)
            kept = self._free.get(size)
            if kept:
                self._kept -= size
                return kept.pop()
        return np.empty(size, dtype=np.uint8)

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        with self._lock:
            self._lent -= memory.size
            if self._users and self._lent + self._kept + memory.size <= self._most_lent:
                self._kept += memory.size
                self._free[memory.size].append(memory)


BUFFERS = Buffers()
"""The memory of all passes of this process."""
