"""The meter of resident memory: one sample of a process, and samples of this one over time, by a thread."""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from weakref import WeakSet

import psutil

__all__ = ["History", "Peak", "Sampler", "clock", "resident_memory", "sampler"]

INTERVAL = 0.02
"""Seconds between two samples while a call runs."""

DOZING_INTERVAL = 0.5
"""Seconds between two samples when there has been no call for :data:`PATIENCE` seconds."""

PATIENCE = 2.0

_OFFSET = time.time() - time.perf_counter()


def clock() -> float:
    """Return the time in seconds since the epoch; it never goes back, whatever is done to the system's clock."""
    return _OFFSET + time.perf_counter()


def resident_memory(process: psutil.Process | None = None) -> int:
    """Return the bytes of a process, of this one by default, that are in memory now."""
    nbytes: int = (process or psutil.Process()).memory_info().rss
    return nbytes


class History:
    """The largest values over time, in a bounded number of intervals.

    Where they do not suffice, each two become one, of twice the width.

    Parameters
    ----------
    width
        Seconds of an interval to begin with.
    length
        Number of intervals that are kept.
    """

    def __init__(self, width: float = INTERVAL, length: int = 4096) -> None:
        self._width = width
        self._length = length
        self._origin: float | None = None
        self._largest: list[tuple[int, float, int]] = []  # number of the interval, time, value

    def add(self, at: float, value: int) -> None:
        """Keep `value` if none in its interval is larger; times do not decrease."""
        if self._origin is None:
            self._origin = at
        self._keep(int((at - self._origin) / self._width), at, value)
        if len(self._largest) > self._length:
            before, self._largest = self._largest, []
            self._width *= 2
            for number, then, most in before:
                self._keep(number // 2, then, most)

    def _keep(self, number: int, at: float, value: int) -> None:
        kept = self._largest
        if not kept or kept[-1][0] != number:
            kept.append((number, at, value))
        elif kept[-1][2] < value:
            kept[-1] = number, at, value

    def samples(self) -> list[tuple[float, int]]:
        """Return times and values, oldest first."""
        return [(at, value) for _, at, value in self._largest]


class Peak:
    """The most memory that was seen while it was watched, in bytes.

    Parameters
    ----------
    start
        What there was at the beginning.
    interval
        Seconds between two samples.
    """

    __slots__ = ("__weakref__", "interval", "most", "start")

    def __init__(self, start: int, interval: float) -> None:
        self.start = self.most = start
        self.interval = interval


class Sampler:
    """Samples the resident set of this process (RSS, as the operating system counts it).

    A daemon thread, started by the first :meth:`watch`, does so every :data:`INTERVAL` seconds; a forked process starts
    one of its own. :meth:`watch` and :meth:`release` take a sample themselves.
    """

    def __init__(self) -> None:
        self._history = History()
        self._watched: WeakSet[Peak] = WeakSet()  # one that nobody releases, as after Ctrl-C, is gone with its call
        self._dozing = self._ended = False
        self._lock = threading.Lock()
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._begin_forked
            )
        atexit.register(self._end)

    def _begin_forked(self) -> None:
        self._begin()
        self._lock.release()

    def _begin(self) -> None:
        """Set up what a forked process does not inherit."""
        self._calls = SimpleQueue[None]()  # no event: Ctrl-C may come within one, and leave its lock taken for good
        self._thread: threading.Thread | None = None
        self._process = psutil.Process()
        self._resident = 0

    def _end(self) -> None:
        self._ended = True
        self._calls.put(None)
        if self._thread is not None:
            self._thread.join()

    def sample(self) -> int:
        """Take a sample, and return it; where the system does not tell (too many open files), the one before."""
        with self._lock:
            return self._sample()

    def _sample(self) -> int:
        try:
            resident = resident_memory(self._process)
        except (OSError, psutil.Error):
            return self._resident
        self._resident = resident
        self._history.add(clock(), resident)
        for peak in self._watched:
            peak.most = max(peak.most, resident)
        return resident

    def watch(self, interval: float | None = None) -> Peak:
        """Begin to watch for the most memory that is taken, with a sample every :data:`INTERVAL` seconds or more."""
        with self._lock:
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="scanpy-oom memory", daemon=True)
                self._thread.start()
            peak = Peak(self._sample(), min(interval or INTERVAL, INTERVAL))
            self._watched.add(peak)
            if self._dozing or peak.interval < INTERVAL:
                self._calls.put(None)
        return peak

    def release(self, peak: Peak) -> int:
        """End what :meth:`watch` began, and return the bytes by which the most exceeded what there was then."""
        with self._lock:
            self._sample()
            self._watched.discard(peak)
        return peak.most - peak.start

    def history(self) -> list[tuple[float, int]]:
        """Return times and bytes so far: the most of each interval."""
        with self._lock:
            return self._history.samples()

    def clear(self) -> None:
        """Forget the history, and begin it anew."""
        with self._lock:
            self._history = History()
            self._sample()

    def _run(self) -> None:
        last_call = clock()
        while not self._ended:
            with self._lock:  # a call that begins now is seen here, or sees that it has to wake this thread
                if self._watched:
                    last_call = clock()
                self._dozing = clock() - last_call > PATIENCE
                interval = min((peak.interval for peak in self._watched), default=INTERVAL)
            self._wait(DOZING_INTERVAL if self._dozing else interval)
            self.sample()

    def _wait(self, seconds: float) -> None:
        """Wait for so long, or until a call wakes this thread."""
        with suppress(Empty):
            self._calls.get(timeout=seconds)
            while True:  # one sample does for all that have called meanwhile
                self._calls.get_nowait()


sampler = Sampler()
"""The meter of this process."""
