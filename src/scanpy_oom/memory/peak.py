"""The most memory that this process takes within a context."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .rss import resident_memory, sampler

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PeakMemory"]

INTERVAL = 0.005
"""Seconds between two samples, where the kernel does not tell."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures by how many bytes resident memory rises, at most, within the context.

    On Linux the kernel tells (its high-water mark, which is set back at the beginning), elsewhere samples are taken.
    Memory that was freed before and is taken again without having gone back to the system does not count.

    Attributes
    ----------
    nbytes
        Bytes, once the context has been left.
    most
        Most bytes that were resident, those from before the context among them.
    is_exact
        Whether the kernel has told.
    """

    nbytes: int
    most: int
    is_exact: bool

    def __enter__(self) -> Self:
        gc.collect()
        self.is_exact = _set_back()
        self._watched = None if self.is_exact else sampler.watch(INTERVAL)
        self._start = self.most = resident_memory() if self._watched is None else self._watched.start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watched is None:
            self.most = _high_water_mark()
        else:
            sampler.release(self._watched)
            self.most = self._watched.most
        self.nbytes = max(self.most - self._start, 0)


def _set_back() -> bool:
    """Set the kernel's high-water mark back; tell whether that could be done."""
    try:
        _CLEAR.write_text("5")
    except OSError:  # another system, or a sandbox that does not let us
        return False
    return True


def _high_water_mark() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
