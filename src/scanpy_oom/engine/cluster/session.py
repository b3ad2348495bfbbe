"""What a worker keeps for a client from pass to pass: open sources, and copies of their rows."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, finalize

import cloudpickle
from distributed import get_worker

from ...errors import OOMError
from ...memory.malloc_trim import return_freed_memory
from ...memory.rss import resident_memory
from ...settings import settings
from ..budget import LIBRARIES
from ..runtime.warmup import make_ready
from .payload import opened
from .shard import Shard

if TYPE_CHECKING:
    from distributed import Worker

    from ...storage.sources.base import Source
    from ..request import Request
    from .payload import Payload

__all__ = ["Session", "begun", "open_session", "return_what_dask_would_count", "this_worker"]

USABLE = 0.75
"""Part of a worker's memory limit in Dask beyond which we do not go: from 0.8 on Dask gives it no more tasks."""

NEAR = 0.5
"""Part of this limit from which on memory that the C library keeps is returned after each run of rows."""

LEAST = LIBRARIES + 2**26
"""Bytes that a worker is given in any case; less would not hold the libraries."""


class Session:
    """What a worker keeps for one client: open sources and copies of their rows. It goes with the client.

    Parameters
    ----------
    client
        Identity of the client.
    client_process
        Host and process of the client.
    """

    def __init__(self, client: str, client_process: tuple[str, int]) -> None:
        worker = this_worker()
        self._client = client
        self._client_process = client_process
        self.key = client, str(worker.address)
        self._is_within_client = client_process == (socket.gethostname(), os.getpid())
        self._left = None if self._is_within_client else _left_by_dask(worker)
        self._shards: dict[str, Shard] = {}
        self._lock = threading.Lock()
        _sessions[self.key] = self
        finalize(self, _release, self._shards)

    def limit_memory(self, wanted: int | None) -> None:
        """Take no more than the user has set, and what Dask leaves this worker; the client has its own settings."""
        if not self._is_within_client:
            limits = [limit for limit in (wanted, self._left) if limit is not None]
            settings.memory_limit = min(limits, default=None)

    def shard(self, name: str, payload: Payload) -> Shard:
        """Return what is kept of a source, which is opened if it is new; let go of those that are not in use."""
        with self._lock:
            for gone in self._shards.keys() - payload.live:
                if self._shards[gone].last_pass < payload.number:  # one that has begun later may read what is new
                    _release({gone: self._shards.pop(gone)})
            if name not in self._shards:
                self._shards[name] = Shard(_opened(payload.sources[name]))
            found = self._shards[name]
            found.last_pass = max(found.last_pass, payload.number)
            return found

    def __sizeof__(self) -> int:
        return 64  # what it holds is in our ledger, and is no matter of Dask's

    def __reduce__(self) -> tuple[Any, ...]:
        _kept[self.key] = self  # Dask writes it to disk, and lets go of it: here it stays
        return open_session, (self._client, None, self._client_process)


_sessions: WeakValueDictionary[tuple[str, str], Session] = WeakValueDictionary()
_kept: dict[tuple[str, str], Session] = {}
_opening = threading.RLock()


def _release(shards: dict[str, Shard]) -> None:
    for shard in shards.values():
        shard.drop()
        shard.source.close()
    shards.clear()


def _opened(content: bytes) -> Source:
    try:
        source: Source = cloudpickle.loads(content)
    except OSError as error:
        msg = (
            f"Worker {_address()} on {socket.gethostname()} cannot open a file of this pass: {error}. All workers must "
            "see the files under the same paths, as on a shared file system. Put them there, or compute in this "
            "process: `scanpy_oom.settings.engine = 'threads'`."
        )
        raise OOMError(msg) from error
    return source


def this_worker() -> Worker:
    """Return the worker that runs the task of this thread."""
    return get_worker()


def return_what_dask_would_count() -> None:
    """Return freed memory to the system, if Dask is about to pause this worker for what it has taken."""
    limit = this_worker().memory_manager.memory_limit
    if limit and resident_memory() > NEAR * limit:
        return_freed_memory()


def _address() -> str:
    return str(this_worker().address)


def open_session(client: str, memory_limit: int | None, client_process: tuple[str, int]) -> Session:
    """Prepare this worker for the passes of a client; return what it keeps for it, if it does.

    Parameters
    ----------
    client
        Identity of the client.
    memory_limit
        Limit of the client's settings; None where it has none.
    client_process
        Host and process of the client, whose own settings stay as they are.
    """
    make_ready()
    with _opening:  # threads of a worker share one
        session = _sessions.get((client, _address())) or Session(client, client_process)
    session.limit_memory(memory_limit)
    return session


def _left_by_dask(worker: Worker) -> int | None:
    """Return the bytes that Dask leaves this worker; None if it sets no limit."""
    of_dask = worker.memory_manager.memory_limit
    return max(int(USABLE * of_dask) - resident_memory(), LEAST) if of_dask else None


def begun(client: str, payload: Payload) -> tuple[list[Request], Shard, Session]:
    """Return the requests of a payload, and what is kept of their source; by whom, for it to last as long."""
    session = open_session(client, payload.memory_limit, payload.client)  # a new one if the worker is new
    shards: dict[str, Shard] = {}

    def source(name: str) -> Source:
        shards[name] = session.shard(name, payload)
        return shards[name].source

    requests = opened(payload, source)
    lead = requests[0].matrix.source
    return requests, next(shard for shard in shards.values() if shard.source is lead), session
