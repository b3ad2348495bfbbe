"""The calls of this session: a plugin that observes them, and what it has kept."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...engine.runtime.pass_log import Totals, totals
from ...memory.rss import clock, sampler
from ..plugins.hookspecs import hookimpl
from ..plugins.manager import add_own

if TYPE_CHECKING:
    from ..plugins.hookspecs import DispatchedCall

__all__ = ["Log", "Recorded", "Tally", "log"]

LENGTH = 10_000
"""Calls that are kept one by one; of those before, only the sums are."""


@dataclass
class Tally:
    """Sums over calls.

    What a call takes is contained in what its caller takes. So sums are over calls by the user alone.

    Parameters
    ----------
    by_how
        Number of calls by the user, by who ran them.
    nested
        Number of calls within others.
    failed
        Number of calls by the user that raised an error.
    passes, bytes_read, seconds
        Sums over calls by the user.
    peak_memory
        The most that one call took.
    """

    by_how: Counter[str] = field(default_factory=Counter)
    nested: int = 0
    failed: int = 0
    passes: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

    @property
    def calls(self) -> int:
        """Number of calls by the user."""
        return self.by_how.total()

    def add(self, call: DispatchedCall) -> None:
        """Count a call."""
        if call.depth:
            self.nested += 1
            return
        self.by_how[call.how] += 1
        self.failed += call.error is not None
        self.passes += call.passes
        self.bytes_read += call.bytes_read
        self.seconds += call.seconds
        self.peak_memory = max(self.peak_memory, call.peak_memory)


@dataclass(frozen=True)
class Recorded:
    """The contents of a log at one time.

    Parameters
    ----------
    started, ended
        When recording began, `None` if it has not, and when this was taken; seconds since the epoch.
    calls
        The last calls, in the order in which they began.
    earlier
        Sums over the calls before these, of which nothing else was kept.
    memory
        Resident memory over time: seconds since the epoch and bytes, the most of each interval.
    baseline
        Resident memory when recording began, in bytes.
    passes
        What all passes of the process have cost meanwhile, those outside of calls too.
    """

    started: float | None
    ended: float
    calls: tuple[DispatchedCall, ...]
    earlier: Tally
    memory: tuple[tuple[float, int], ...]
    baseline: int
    passes: Totals


class Log:
    """Keeps the calls that it is told of, the last ones in full.

    Parameters
    ----------
    length
        How many those are.
    """

    def __init__(self, length: int = LENGTH) -> None:
        self._lock = threading.Lock()
        self._length = length
        self._calls: deque[DispatchedCall] = deque()
        self._earlier = Tally()
        self._started: float | None = None
        self._baseline = 0
        self._passes = totals()
        if hasattr(os, "register_at_fork"):
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    @property
    def has_begun(self) -> bool:
        """True if calls are recorded."""
        return self._started is not None

    def begin(self) -> None:
        """Record from now on, unless this is so already."""
        if not self.has_begun:
            with self._lock:
                if not self.has_begun:
                    self._begin()

    def _begin(self) -> None:
        self._baseline, self._passes, self._started = sampler.sample(), totals(), clock()

    @hookimpl(trylast=True)  # whenever it is imported, after the observers of others
    def scanpy_oom_observe(self, call: DispatchedCall) -> None:
        with self._lock:
            self._calls.append(call)
            if len(self._calls) > self._length:
                self._earlier.add(self._calls.popleft())

    def take(self, *, clear: bool = False) -> Recorded:
        """Return what has been recorded.

        Parameters
        ----------
        clear
            Whether to begin anew.
        """
        with self._lock:
            before, now = self._passes, totals()
            recorded = Recorded(
                started=self._started,
                ended=clock(),
                calls=tuple(sorted(self._calls, key=lambda call: (call.started, call.depth))),
                earlier=deepcopy(self._earlier),
                memory=tuple(sampler.history()) if self.has_begun else (),
                baseline=self._baseline,
                passes=now.since(before),
            )
            if clear and self.has_begun:
                self._calls.clear()
                self._earlier = Tally()
                sampler.clear()
                self._begin()
        return recorded


log = Log()
"""The log of this process, registered as the plugin ``"report"``."""

add_own(log, "report")
