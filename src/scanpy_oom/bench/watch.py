"""A run, watched from outside: its memory is sampled, and it is stopped before it takes the machine down."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from ..memory.rss import resident_memory
from ..settings import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

__all__ = ["Limits", "Watch", "thin"]

INTERVAL = 0.005
"""Seconds between two looks at the memory of the process."""

RESERVE = 0.04
"""Share of the machine's memory below which what is free must not fall."""

MOST = 0.5
"""Share of what was free at the beginning that a run must have taken before it is blamed for what is missing."""

POINTS = 1500
"""Samples that are kept of a run."""


@dataclass(frozen=True)
class Limits:
    """When a run is stopped.

    Attributes
    ----------
    memory
        Bytes that it may have resident; `None` for what the machine has.
    seconds
        How long it may take; `None` for as long as it likes.
    """

    memory: int | None = None
    seconds: float | None = None


@dataclass
class Watch:
    """Samples the resident memory of a process, and kills it when it passes a limit.

    Parameters
    ----------
    process
        The process.
    limits
        When it is stopped.

    Attributes
    ----------
    samples
        Time (`time.monotonic`) and resident bytes.
    stopped
        Why it was stopped; `None` if it was not.
    """

    process: Popen[str]
    limits: Limits
    samples: list[tuple[float, int]] = field(default_factory=list)
    stopped: str | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        memory = psutil.virtual_memory()
        self._reserve, self._share = RESERVE * memory.total, MOST * memory.available
        self._begin = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def peak(self, begin: float, end: float) -> int | None:
        """Return the most bytes seen between two times; `None` if it was not looked."""
        return max((rss for at, rss in self.samples if begin <= at <= end), default=None)

    def _watch(self) -> None:
        try:
            process = psutil.Process(self.process.pid)
            while not self._stop.wait(INTERVAL):
                rss = resident_memory(process)
                self.samples.append((time.monotonic(), rss))
                if reason := self._excess(rss):
                    self.stopped = reason
                    self.process.kill()
                    return
        except psutil.NoSuchProcess:  # it has ended
            return

    def _excess(self, rss: int) -> str | None:
        if self.limits.memory is not None and rss > self.limits.memory:
            return f"stopped at {format_bytes(rss)} of memory: {format_bytes(self.limits.memory)} were allowed"
        if rss > self._share and psutil.virtual_memory().available < self._reserve:
            return f"stopped at {format_bytes(rss)} of memory: the machine has no more"
        seconds = time.monotonic() - self._begin
        if self.limits.seconds is not None and seconds > self.limits.seconds:
            return f"stopped after {seconds:.0f} s: {self.limits.seconds:g} s were allowed"
        return None


def thin(samples: list[tuple[float, int]], points: int = POINTS) -> list[tuple[float, int]]:
    """Return about `points` of the samples, each the largest among its neighbours."""
    width = -(-len(samples) // points) or 1
    groups = (samples[i : i + width] for i in range(0, len(samples), width))
    largest: Callable[[tuple[float, int]], int] = lambda sample: sample[1]
    return [max(group, key=largest) for group in groups]
