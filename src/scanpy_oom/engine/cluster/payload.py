"""What travels to workers: sources by path, and requests without copies, statistics of rows and values."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import cloudpickle
import numpy as np

from ...matrix import OOMMatrix
from ...matrix.cache_registry import Copies
from ...matrix.known_statistics import COLUMN_STATISTICS, Statistics
from ...storage.codecs.zstd import compress, decompress
from ...storage.sources.base import Source
from ...storage.sources.stored import StoredSource
from ..request import Request
from ..sources.joined import JoinedSource
from ..sources.patched import PatchedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Payload", "joined", "live_tokens", "opened", "packed", "pieces", "token", "uses_values_of_client"]

PIECE = 2**22
"""Bytes that are handed to the scheduler at a time: it warns of tasks that are larger than 10 MB."""

_SIZE = 8
"""Bytes that tell the size of a payload."""

_tokens: WeakKeyDictionary[Source, str] = WeakKeyDictionary()
_lock = Lock()
_numbers = count(1)


def token(source: Source) -> str:
    """Return the name of a source on the workers, which keep it open, with copies of rows, while it lives here."""
    with _lock:
        return _tokens.setdefault(source, uuid4().hex)


def live_tokens() -> frozenset[str]:
    """Return the names of all sources that are still in use here."""
    with _lock:
        return frozenset(_tokens.values())


@dataclass(frozen=True, slots=True)
class Payload:
    """One pass, as workers get it.

    Parameters
    ----------
    requests
        What to compute, pickled; sources are named by their tokens.
    sources
        The pickled sources, by token.
    cache, reuse
        As :class:`~scanpy_oom.engine.request.CachePolicy` has them.
    memory_limit
        Bytes that a worker may take at most; None where the user has set no limit.
    client
        Host and process of the client: a worker within it has its settings already.
    folder
        Folder by way of which workers exchange entries, if they do.
    missing
        Numbers of the totals of rows that the client does not know yet.
    number
        Number of the pass among those of the client.
    live
        Names of the sources whose copies are still of use: of all that earlier passes have read.
    """

    requests: bytes
    sources: dict[str, bytes]
    cache: bool
    reuse: bool
    memory_limit: int | None
    client: tuple[str, int]
    folder: str | None = None
    missing: tuple[int, ...] = ()
    number: int = field(default_factory=_numbers.__next__)
    live: frozenset[str] = field(default_factory=live_tokens)  # after the number: a source of later has a later one


def uses_values_of_client(source: Source) -> bool:
    """Return whether some values of a source are not in files, but in memory or scratch space of this process."""
    if isinstance(source, PatchedSource):
        return True
    if isinstance(source, JoinedSource):
        return any(uses_values_of_client(part) for part in source.sources())
    return not isinstance(source, StoredSource) and source.path is None


class _Pickler(cloudpickle.Pickler):
    """Names sources in place of pickling them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.sources: dict[str, Source] = {}

    def persistent_id(self, obj: Any) -> str | None:
        if not isinstance(obj, Source):
            return None
        name = token(obj)
        self.sources[name] = obj
        return name


class _Unpickler(pickle.Unpickler):
    """Opens sources by their names."""

    def __init__(self, file: io.BytesIO, source: Callable[[str], Source]) -> None:
        super().__init__(file)
        self._source = source

    def persistent_load(self, name: str) -> Source:
        return self._source(name)


def packed(requests: Sequence[Request]) -> tuple[bytes, dict[str, bytes]]:
    """Return requests, pickled, and the sources that they name.

    Raises
    ------
    Exception
        Whatever pickling raises of what cannot be pickled, as a lock or an open file that a reduction holds.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump([Request(_bare(request.matrix), request.reductions) for request in requests])
    return file.getvalue(), {name: cloudpickle.dumps(source) for name, source in pickler.sources.items()}


def _bare(matrix: OOMMatrix) -> OOMMatrix:
    """Return a matrix without what workers do not need: copies, and what is known of its rows."""
    known = {name: matrix.statistics.known[name] for name in COLUMN_STATISTICS if name in matrix.statistics.known}
    statistics = Statistics(known, no_zeros=matrix.statistics.no_zeros)
    return OOMMatrix(matrix.source, matrix.selection, matrix.chain, statistics, Copies())


def opened(payload: Payload, source: Callable[[str], Source]) -> list[Request]:
    """Return the requests of a payload, with sources as a function gives them by their names."""
    found: list[Request] = _Unpickler(io.BytesIO(payload.requests), source).load()
    return found


def pieces(payload: Payload) -> Iterator[bytes]:
    """Cut a payload into pieces, which :func:`joined` puts together again."""
    content = pickle.dumps(payload, protocol=pickle.HIGHEST_PROTOCOL)
    stored = len(content).to_bytes(_SIZE, "little") + compress(np.frombuffer(content, dtype=np.uint8))
    for start in range(0, len(stored), PIECE):
        yield stored[start : start + PIECE]


def joined(parts: Sequence[bytes]) -> Payload:
    """Put the pieces of a payload together."""
    stored = b"".join(parts)
    content = decompress(stored[_SIZE:], int.from_bytes(stored[:_SIZE], "little"))
    payload: Payload = pickle.loads(content.data)
    return payload
