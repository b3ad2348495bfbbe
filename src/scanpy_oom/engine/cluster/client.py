"""The workers of a Dask client: who is there, which rows are whose, and whether they can do our work."""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from threading import RLock
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, default_client, wait
from distributed.comm.addressing import parse_host_port
from distributed.comm.core import CommClosedError

from ...errors import OOMError
from ...settings import settings
from .session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cluster", "cluster_of"]

_lock = RLock()
_clusters: dict[Client, Cluster] = {}
_by_address: dict[str, Client] = {}

PATIENCE = 2.0
"""Seconds that a worker has to accept a connection."""

PREPARATION = 20.0
"""Seconds that new workers have to prepare before a pass begins without them, as without those that are busy."""

_WAY_OUT = "Or compute in this process: `scanpy_oom.settings.engine = 'threads'`."


def cluster_of(engine: object) -> Cluster | None:
    """Return the workers of an engine: a client, the address of a scheduler, or ``"dask"``; None if it is no such.

    Raises
    ------
    OOMError
        If the client is closed, is of an event loop, or if there is none.
    """
    client = _client(engine)
    if client is None:
        return None
    if client.asynchronous:
        msg = f"{client!r} belongs to an event loop. Make passes on a client with `asynchronous=False`. {_WAY_OUT}"
        raise OOMError(msg)
    if client.status != "running":
        msg = f"The Dask client of settings.engine is {client.status}. Set another one. {_WAY_OUT}"
        raise OOMError(msg)
    with _lock:
        if client not in _clusters:
            for closed in [one for one in _clusters if one.status == "closed"]:
                del _clusters[closed]
            _clusters[client] = Cluster(client)
        return _clusters[client]


def _client(engine: object) -> Client | None:
    if isinstance(engine, Client):
        return engine
    if not isinstance(engine, str):
        return None
    if engine == "dask":
        try:
            return default_client()
        except ValueError as error:
            there_is = "settings.engine is 'dask', but there is no Dask client"
            msg = f"{there_is}. Make one: `dask.distributed.Client()`. {_WAY_OUT}"
            raise OOMError(msg) from error
    if "://" not in engine:
        return None
    with _lock:
        known = _by_address.get(engine)
        if known is None or known.status != "running":
            try:
                _by_address[engine] = Client(engine, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                msg = f"No Dask scheduler answers at {engine!r}: {error}. Correct settings.engine. {_WAY_OUT}"
                raise OOMError(msg) from error
        return _by_address[engine]


class Cluster:
    """The workers of a client, in an order that lasts: each has the same part of the rows in all passes.

    Parameters
    ----------
    client
        The client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: list[str] = []
        self._sessions: dict[str, Future[Any]] = {}
        self.reaches_workers = True
        """Whether this process can connect to all workers."""
        self._lock = RLock()

    @property
    def client(self) -> Client:
        """The client."""
        return self._client

    @property
    def title(self) -> str:
        """What it is, for the report."""
        n = len(self._places)
        return f"{n} Dask worker{'s' if n != 1 else ''}"

    def workers(self) -> dict[str, int]:
        """Return the threads of each worker by its address, in their order; new ones are prepared first.

        Raises
        ------
        OOMError
            If there is none, or one with other versions.
        """
        with self._lock:
            threads: dict[str, int] = self._client.nthreads()
            if not threads:
                msg = f"The Dask cluster at {self._address} has no workers. Start some. {_WAY_OUT}"
                raise OOMError(msg)
            new = [address for address in threads if address not in self._sessions]
            if new:
                self._check_versions()
            for gone in self._sessions.keys() - threads.keys():
                del self._sessions[gone]
            self._seat(threads, new)
            self.reaches_workers &= all(_answers(address) for address in new)
            for address in new:
                self._sessions[address] = self._client.submit(
                    open_session,
                    self._client.id,
                    memory_limit(),
                    this_process(),
                    key=f"scanpy-oom-session-{self._client.id}-{address}",
                    workers=[address],
                    pure=False,
                )
            if new:  # else the first that is ready computes what is the others' to keep
                with self._client.as_current(), suppress(TimeoutError, CancelledError):
                    wait([self._sessions[address] for address in new], timeout=PREPARATION)
            return {address: threads[address] for address in self._places}

    def cancel(self, futures: Sequence[Future[Any]]) -> None:
        """Have tasks begun no more whose results nobody waits for."""
        if self._client.status == "running":
            with suppress(CommClosedError, OSError):  # there is nobody left to tell
                self._client.cancel(futures, force=True)

    @property
    def _address(self) -> str:
        return str(self._client.scheduler.address)

    def _seat(self, threads: dict[str, int], new: Sequence[str]) -> None:
        """Put new workers in the places of those that are gone, so that the rows of all others stay theirs."""
        waiting = sorted(new)
        kept: list[str] = []
        for address in self._places:
            if address in threads:
                kept.append(address)
            elif waiting:
                kept.append(waiting.pop(0))
        self._places = kept + waiting

    def _check_versions(self) -> None:
        """Raise OOMError if a worker has another Python or another version of this package."""
        found: Any = self._client.get_versions(packages=["scanpy_oom"])
        for address, versions in found["workers"].items():
            theirs = _versions(versions)
            if theirs != (ours := _own_versions()):
                differing = ", ".join(
                    f"{name} {theirs[name] or 'missing'} (here {ours[name] or 'not installed'})"
                    for name in ours
                    if theirs[name] != ours[name]
                )
                msg = (
                    f"Worker {address} has other versions than this process: {differing}. Install the same on all "
                    f"workers. {_WAY_OUT}"
                )
                raise OOMError(msg)


def _answers(address: str) -> bool:
    """Return whether a worker can be reached from here, and not by way of the scheduler alone."""
    if address.startswith("inproc://"):
        return True
    host, port = parse_host_port(address.rsplit("://", maxsplit=1)[-1])
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def _own_versions() -> dict[str, str | None]:
    python = ".".join(map(str, sys.version_info[:2]))
    try:
        return {"Python": python, "scanpy-oom": version("scanpy-oom")}
    except PackageNotFoundError:  # on the path, and not installed
        return {"Python": python, "scanpy-oom": None}


def _versions(found: dict[str, Any]) -> dict[str, str | None]:
    python = str(found["host"]["python"]).split(".")
    return {"Python": ".".join(python[:2]), "scanpy-oom": found["packages"].get("scanpy_oom")}


def memory_limit() -> int | None:
    """Return the limit that the user has set; None if there is none."""
    return settings.memory_limit if settings.limits_memory else None


def this_process() -> tuple[str, int]:
    """Return host and number of this process."""
    return socket.gethostname(), os.getpid()
