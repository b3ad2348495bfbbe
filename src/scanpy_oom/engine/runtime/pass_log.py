"""The log of passes: their cost, for tests, reports and the card."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

from ...memory.fork_lock import fork_safe_lock

__all__ = ["PassRecord", "Totals", "WorkerShare", "add", "add_bytes", "recent", "totals", "totals_of_thread"]


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """What one worker has done of a pass.

    Parameters
    ----------
    worker
        Its address.
    n_rows
        Rows that it has worked on.
    bytes_read
        Bytes that it has fetched from disk.
    seconds
        Time that it has worked.
    resident
        Bytes of its resident memory, at most, at the end of a run of rows.
    """

    worker: str
    n_rows: int
    bytes_read: int
    seconds: float
    resident: int

    def plus(self, other: WorkerShare) -> WorkerShare:
        """Return the sums of two passes."""
        return WorkerShare(
            self.worker,
            self.n_rows + other.n_rows,
            self.bytes_read + other.bytes_read,
            self.seconds + other.seconds,
            max(self.resident, other.resident),
        )

    def minus(self, earlier: WorkerShare) -> WorkerShare:
        """Return what has come since earlier sums."""
        return WorkerShare(
            self.worker,
            self.n_rows - earlier.n_rows,
            self.bytes_read - earlier.bytes_read,
            self.seconds - earlier.seconds,
            self.resident,
        )


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
        What kept it from the device or the engine of the settings; empty where nothing did.
    workers
        What each worker of another engine has done.
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
    workers: tuple[WorkerShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all passes of this process."""

    passes: int
    bytes_read: int
    by_device: tuple[tuple[str, int], ...] = ()
    """How many passes ran where; those that the device of the settings does not cover by what keeps them from it."""
    workers: tuple[WorkerShare, ...] = ()
    """What each worker of another engine has done."""

    def with_one_more(self, record: PassRecord) -> Totals:
        """Return the sums with one pass more."""
        where = f"the CPU for {record.why_not_on_device}" if record.why_not_on_device else record.device
        by_device = dict(self.by_device)
        by_device[where] = by_device.get(where, 0) + 1
        workers = {share.worker: share for share in self.workers}
        for share in record.workers:
            workers[share.worker] = workers[share.worker].plus(share) if share.worker in workers else share
        shares = tuple(workers.values())
        return Totals(self.passes + 1, self.bytes_read + record.bytes_read, tuple(by_device.items()), shares)

    def since(self, before: Totals) -> Totals:
        """Return what has come since earlier sums."""
        earlier = {share.worker: share for share in before.workers}
        workers = (share.minus(earlier[share.worker]) if share.worker in earlier else share for share in self.workers)
        by_device = dict(self.by_device)
        for where, n in before.by_device:
            by_device[where] -= n
        return Totals(
            self.passes - before.passes,
            self.bytes_read - before.bytes_read,
            tuple((where, n) for where, n in by_device.items() if n),
            tuple(share for share in workers if share.n_rows),
        )

    def with_bytes(self, nbytes: int) -> Totals:
        """Return the sums with bytes more that no pass has read."""
        return replace(self, bytes_read=self.bytes_read + nbytes)


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
