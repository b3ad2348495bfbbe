"""The log of passes: their cost, for tests, reports and the card."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from ...memory.fork_lock import fork_safe_lock

__all__ = ["PassRecord", "Totals", "add", "add_bytes", "recent", "totals", "totals_of_thread"]


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One pass.

    Parameters
    ----------
    location
        File and dataset that was read.
    reductions
        Names of what was computed.
    n_rows, n_blocks
        Rows and blocks that were read.
    bytes_read
        Bytes fetched from disk, as stored.
    seconds
        Time that the pass took.
    peak_buffer
        Most bytes that blocks and partial results took at one time.
    device
        Where it was computed.
    why_not_on_device
        What kept it from the device of the settings; empty where nothing did.
    """

    location: str
    reductions: tuple[str, ...]
    n_rows: int
    n_blocks: int
    bytes_read: int
    seconds: float
    peak_buffer: int
    device: str = "cpu"
    why_not_on_device: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all passes of this process."""

    passes: int
    bytes_read: int
    by_device: tuple[tuple[str, int], ...] = ()
    """How many passes ran where; those that the device of the settings does not cover by what keeps them from it."""

    def with_one_more(self, record: PassRecord) -> Totals:
        """Return the sums with one pass more."""
        where = f"the CPU for {record.why_not_on_device}" if record.why_not_on_device else record.device
        by_device = dict(self.by_device)
        by_device[where] = by_device.get(where, 0) + 1
        return Totals(self.passes + 1, self.bytes_read + record.bytes_read, tuple(by_device.items()))

    def with_bytes(self, nbytes: int) -> Totals:
        """Return the sums with bytes more that no pass has read."""
        return Totals(self.passes, self.bytes_read + nbytes, self.by_device)


_NOTHING = Totals(0, 0)
_own = threading.local()
_lock = fork_safe_lock()
_recent: deque[PassRecord] = deque(maxlen=1000)
_totals = _NOTHING


def add(record: PassRecord) -> None:
    """Keep `record`."""
    global _totals  # noqa: PLW0603
    with _lock:
        _recent.append(record)
        _totals = _totals.with_one_more(record)
    _own.totals = totals_of_thread().with_one_more(record)


def add_bytes(nbytes: int) -> None:
    """Count bytes that were fetched for a few rows, which is no pass."""
    global _totals  # noqa: PLW0603
    with _lock:
        _totals = _totals.with_bytes(nbytes)
    _own.totals = totals_of_thread().with_bytes(nbytes)


def totals() -> Totals:
    """Return the sums over all passes so far; they only grow."""
    return _totals


def totals_of_thread() -> Totals:
    """Return the sums over the passes that this thread has asked for."""
    found: Totals = getattr(_own, "totals", _NOTHING)
    return found


def recent() -> list[PassRecord]:
    """Return the last thousand passes, oldest first."""
    with _lock:
        return list(_recent)
