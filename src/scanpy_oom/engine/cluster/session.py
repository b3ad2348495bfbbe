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

__all__ = ["Session", "begun", "open_session", "this_worker"]

USABLE = 0.75
"""Part of a worker's memory limit in Dask beyond which we do not go: from 0.8 on Dask gives it no more tasks."""

LEAST = LIBRARIES + 2**26
"""Bytes that a worker is given in any case; less would not hold the libraries."""


class Session:
    """What a worker keeps for one client: open sources and copies of their rows. It goes with the client.

    Parameters
    ----------
    client
        Identity of the client.
    worker
        Address of the worker.
    """

    def __init__(self, client: str, worker: str) -> None:
        self.key = client, worker
        self._shards: dict[str, Shard] = {}
        self._lock = threading.Lock()
        _sessions[self.key] = self
        finalize(self, _release, self._shards)

    def shard(self, name: str, content: bytes, live: frozenset[str]) -> Shard:
        """Return what is kept of a source, which is opened if it is new; let go of those that are not in use."""
        with self._lock:
            for gone in self._shards.keys() - live:
                _release({gone: self._shards.pop(gone)})
            if name not in self._shards:
                self._shards[name] = Shard(_opened(content))
            return self._shards[name]

    def __sizeof__(self) -> int:
        return 64  # what it holds is in our ledger, and is no matter of Dask's

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.key[0],)


_sessions: WeakValueDictionary[tuple[str, str], Session] = WeakValueDictionary()


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


def _address() -> str:
    return str(this_worker().address)


def _again(client: str) -> Session:
    """Begin anew where Dask moves a session: copies stay where they are."""
    return open_session(client, None, ("", 0))


def open_session(client: str, memory_limit: int | None, client_process: tuple[str, int]) -> Session:
    """Prepare this worker for the passes of a client.

    Parameters
    ----------
    client
        Identity of the client.
    memory_limit
        Limit of the client's settings; None where it has none.
    client_process
        Host and process of the client, whose own settings stay as they are.
    """
    worker = this_worker()
    if client_process != (socket.gethostname(), os.getpid()):
        settings.memory_limit = _limit(worker, memory_limit)
    make_ready()
    return Session(client, str(worker.address))


def _limit(worker: Worker, wanted: int | None) -> int | None:
    """Return the least of what the user has set and what Dask leaves this worker; None if neither says anything."""
    of_dask = worker.memory_manager.memory_limit
    if not of_dask:
        return wanted
    left = max(int(USABLE * of_dask) - resident_memory(), LEAST)
    return left if wanted is None else min(left, wanted)


def begun(client: str, payload: Payload) -> tuple[list[Request], Shard, Session]:
    """Return the requests of a payload, and what is kept of their source; by whom, for it to last as long."""
    key = client, _address()
    session = _sessions.get(key)
    if session is None:  # a worker that has come since the pass began
        session = open_session(client, payload.memory_limit, payload.client)
    shards: dict[str, Shard] = {}

    def source(name: str, content: bytes) -> Source:
        shards[name] = session.shard(name, content, payload.live)
        return shards[name].source

    requests = opened(payload, source)
    lead = requests[0].matrix.source
    return requests, next(shard for shard in shards.values() if shard.source is lead), session
