"""What workers are asked to do in tests. They import this module, which therefore imports little."""

from __future__ import annotations

import gc
import genericpath
import os
import sys
import time

import numpy as np

from scanpy_oom.engine.column_buckets import ByBuckets
from scanpy_oom.reductions import AxisStatistics, GroupMoments, GroupRanks, GroupWelford

__all__ = [
    "Deadly",
    "FailingOnceWritten",
    "Late",
    "Slow",
    "SlowRanks",
    "SlowWelford",
    "Unsendable",
    "blind",
    "copies",
    "evict_session",
    "find_first",
    "find_no_more",
    "memory_limit",
    "seeing",
    "sessions",
    "set_bucket",
]


class Late(GroupMoments):
    """Takes longer for the first rows than for the last, so that runs end in another order than they begin."""

    def update(self, partial, block):
        first = np.arange(5000)[block.positions][0]
        time.sleep(0.04 * (1 - first / 5000))
        super().update(partial, block)


class Slow(AxisStatistics):
    """Takes a while for each block."""

    def update(self, partial, block):
        time.sleep(0.1)
        super().update(partial, block)


class SlowRanks(GroupRanks):
    """Takes a while for each block."""

    def update(self, partial, block):
        time.sleep(0.1)
        super().update(partial, block)


class SlowWelford(GroupWelford):
    """Takes a while for each block."""

    def update(self, partial, block):
        time.sleep(0.1)
        super().update(partial, block)


class Deadly(AxisStatistics):
    """Ends the process that computes it."""

    def update(self, partial, block):
        os._exit(1)


class FailingOnceWritten(GroupRanks):
    """Fails on the workers, once it has written."""

    def finish(self, partial):
        super().finish(partial)
        msg = "planted"
        raise RuntimeError(msg)


class Unsendable(AxisStatistics):
    """Cannot be pickled."""

    def __reduce__(self):
        msg = "it holds a lock"
        raise TypeError(msg)


def blind(folder: str) -> None:
    """Have this process see no folders below one: as if its disk were another."""
    own = genericpath.isdir
    genericpath.isdir = lambda path: not str(path).startswith(folder) and own(path)
    genericpath.isdir.own = own


def seeing() -> None:
    """Have it see them again."""
    genericpath.isdir = genericpath.isdir.own


def set_bucket(entries: int) -> None:
    """Have buckets of columns hold so many entries in this process."""
    ByBuckets._prepare.__kwdefaults__["bucket"] = entries


def sessions(client: str) -> list:
    """Return the sessions of a client in this process."""
    from scanpy_oom.engine.cluster import session

    return [found for (name, _), found in session._sessions.items() if name == client]


def copies(client: str) -> dict[str, int]:
    """Return how many copies this worker keeps for a client, by the name of their source."""
    return {name: shard.n_copies for session in sessions(client) for name, shard in session._shards.items()}


def memory_limit() -> int:
    """Return the limit of this process."""
    from scanpy_oom.settings import settings

    return settings.memory_limit


def evict_session(client: str, dask_worker=None) -> list[str]:
    """Have Dask write what it holds to disk, the oldest first, until the session is there; return what is.

    So it does where memory runs short.
    """
    data = dask_worker.data
    while any(key.startswith(f"scanpy-oom-session-{client}") for key in data.fast):
        data.evict()
    gc.collect()
    return list(data.slow)


def find_first(folder: str) -> None:
    """Have this process find packages in a folder before all others."""
    sys.path.insert(0, folder)
    _look_again()


def find_no_more(folder: str) -> None:
    """Have it find them there no more."""
    sys.path.remove(folder)
    _look_again()


def _look_again() -> None:
    """Have Dask forget which versions are installed."""
    from distributed import versions

    if hasattr(versions, "_version_cached"):
        versions._version_cached.cache_clear()
