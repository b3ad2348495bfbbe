"""What runs on workers: runs of tasks are reduced, and their results merged."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakValueDictionary, finalize

import cloudpickle
import numpy as np
from distributed import get_worker

from ...errors import OOMError
from ...memory.buffer_pool import BUFFERS
from ...memory.ledger import ACCOUNTANT
from ...memory.rss import resident_memory
from ...settings import settings
from ..budget import LIBRARIES
from ..cache.policy import missing_totals, needed_columns
from ..executor import Pass, arrays_by_row, of_each
from ..partition import in_source_order
from ..request import CachePolicy
from ..runtime.blas import one_blas_thread
from ..runtime.warmup import make_ready
from .payload import Payload, joined, opened
from .shard import Shard, ShardReader, SpanWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Worker
    from numpy.typing import NDArray

    from ...storage.sources.base import Source
    from ..cache.policy import Keeper
    from ..reader import Reader
    from ..request import Partials, Request

__all__ = [
    "Note",
    "Outcome",
    "Run",
    "Session",
    "merge",
    "open_session",
    "part",
    "partials_of",
    "read_ahead",
    "rows_of",
    "work",
]

USABLE = 0.75
"""Part of a worker's memory limit in Dask beyond which we do not go: from 0.8 on Dask gives it no more tasks."""

LEAST = LIBRARIES + 2**26
"""Bytes that a worker is given in any case; less would not hold the libraries."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tasks of one group, which one worker computes.

    Parameters
    ----------
    number
        Among all runs of the pass.
    tasks
        First row and the row after the last of each, in rows sorted as in the source.
    is_last
        Whether it is the last run of the pass.
    """

    number: int
    tasks: tuple[tuple[int, int], ...]
    is_last: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """First row, and the row after the last."""
        return self.tasks[0][0], self.tasks[-1][1]


@dataclass(frozen=True, slots=True)
class Note:
    """What a run took.

    Parameters
    ----------
    worker
        Address of the worker.
    n_rows, n_blocks
        Rows and blocks.
    bytes_before, bytes_after
        Bytes that the worker had read of the source, before and after.
    seconds
        How long it took.
    peak_buffer
        Most bytes of blocks and partial results.
    resident
        Bytes of the worker's resident memory afterwards.
    """

    worker: str
    n_rows: int
    n_blocks: int
    bytes_before: int
    bytes_after: int
    seconds: float
    peak_buffer: int
    resident: int


@dataclass(slots=True)
class Outcome:
    """What a run found.

    Parameters
    ----------
    run
        The run.
    partials
        Partial results of its tasks, merged and packed.
    by_row
        What it has written by row: of each array, the rows of the run.
    totals
        Totals of rows that it has found, of each chain of each request.
    note
        What it took.
    """

    run: Run
    partials: Partials
    by_row: list[np.ndarray] = field(default_factory=list)
    totals: list[NDArray[np.float64]] = field(default_factory=list)
    note: Note | None = None

    def __sizeof__(self) -> int:
        """Bytes, by which Dask decides what to spill."""
        arrays = [*self.by_row, *self.totals]
        return sum(array.nbytes for array in arrays) + sum(_nbytes(one) for row in self.partials for one in row)


def _nbytes(packed: object) -> int:
    if isinstance(packed, list | tuple):
        return sum(_nbytes(one) for one in packed)
    return int(getattr(packed, "nbytes", 64))


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


def _worker() -> Worker:
    return get_worker()


def _address() -> str:
    return str(_worker().address)


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
    worker = _worker()
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


class _ShardPass(Pass):
    """A pass over a run of rows, in the thread that calls.

    Parameters
    ----------
    requests, policy
        As of :class:`~scanpy_oom.engine.executor.Pass`.
    run
        Which rows.
    shard
        What this worker keeps of the source.
    n_beside
        Runs that this worker works on at a time.
    """

    holds_results = False

    def __init__(self, requests: Sequence[Request], policy: CachePolicy, run: Run, shard: Shard, n_beside: int) -> None:
        self.run_of_tasks = run
        self.shard = shard
        self.worker = {"n_threads": 1, "n_beside": n_beside}
        super().__init__(requests, policy)

    def chosen_reader(self, policy: CachePolicy) -> Reader:
        start, stop = self.run_of_tasks.span
        ordered = in_source_order(self.lead.selection)
        rows = np.arange(start, stop, dtype=np.intp) if ordered is None else ordered[start:stop]
        self.rows = rows if (np.diff(rows) > 0).all() else np.unique(rows)  # ascending and each once
        needed = needed_columns([request.matrix for request in self.requests])
        return self.shard.reader(self.rows, needed, caches=policy.cache)

    def longest(self) -> int:
        return self.partition.longest(self.run_of_tasks.tasks)

    def _cache_writer_for(self, policy: CachePolicy) -> Keeper | None:
        shown = self.lead.selection.columns
        fed = self.lead.source.shape[1] if self.reader.columns is None else self.reader.columns.size
        again = policy.cache and policy.reuse and len(self.requests) == 1 and not self.partition.repeats_rows
        if not again or shown is None or 2 * shown.size > fed or self.lead.selection.repeats_columns:
            return None
        return SpanWriter(self.shard, self.rows, np.sort(shown), self.run_of_tasks.span[0])

    def compute(self, before: Partials | None) -> Partials:
        """Return the partial results of the run, packed; where rows come in order, after those `before`."""
        self.fit_rows()
        share = self.share
        try:
            with (
                ACCOUNTANT.grant(beside=LIBRARIES, blocks=share.blocks_nbytes, partial_results=share.partials_nbytes),
                BUFFERS.in_use(),
            ):
                found = self._in_order(before) if self.in_one_piece else self._by_tasks()
        except BaseException:
            if self.cache_writer is not None:
                self.cache_writer.discard()
            if isinstance(self.reader, ShardReader):
                self.reader.discard()
            raise
        if self.cache_writer is not None:
            self.cache_writer.finish()
        if isinstance(self.reader, ShardReader):
            self.reader.leave_copy(self.shard)
        return of_each(self.requests, "pack", found)

    def exchange_by(self, folder: Path) -> None:
        """Write what others will read to a folder of all workers; under another name if the run is done again."""
        for i, request in enumerate(self.requests):
            for k, reduction in enumerate(request.reductions):
                if reduction.exchanges:
                    reduction.share(folder, f"{self.run_of_tasks.number}-{i}-{k}-{uuid4().hex}")

    def _by_tasks(self) -> Partials:
        return reduce(self.merge, (self.task(*task) for task in self.run_of_tasks.tasks))

    def _in_order(self, before: Partials | None) -> Partials:
        totals = self.partials() if before is None else of_each(self.requests, "unpack", deepcopy(before))
        for task in self.run_of_tasks.tasks:
            for rows in self.partition.blocks(*task):
                self.take(totals, rows)
        return self.finish(totals) if self.run_of_tasks.is_last else totals

    def progressed(self, n_rows: int) -> None:
        """Show nothing: the client does."""

    def by_row(self) -> list[np.ndarray]:
        """Return what the run has written by row."""
        positions = self.partition.positions(*self.run_of_tasks.span)
        return [np.ascontiguousarray(array[positions]) for array in arrays_by_row(self.requests)]


def work(client: str, parts: Sequence[bytes], run: Run, before: Outcome | None = None, *_after: object) -> Outcome:
    """Compute a run.

    Parameters
    ----------
    client
        Identity of the client.
    parts
        Pieces of the payload.
    run
        The tasks.
    before
        Outcome of the run before, where rows are added one after the other.
    """
    payload = joined(parts)
    requests, shard, _session = _begun(client, payload)
    started, bytes_before = time.perf_counter(), shard.source.bytes_read
    missing = [missing_totals(request.matrix) for request in requests]
    with ExitStack() as stack:
        if any(reduction.uses_blas for request in requests for reduction in request.reductions):
            stack.enter_context(one_blas_thread())
        this = _ShardPass(requests, _policy(payload), run, shard, _worker().state.nthreads)
        if payload.folder is not None:
            this.exchange_by(Path(payload.folder))
        partials = this.compute(None if before is None else before.partials)
    note = Note(
        worker=_address(),
        n_rows=run.span[1] - run.span[0],
        n_blocks=this.n_blocks,
        bytes_before=bytes_before,
        bytes_after=shard.source.bytes_read,
        seconds=time.perf_counter() - started,
        peak_buffer=this.largest_block + this.share.partials_nbytes,
        resident=resident_memory(),
    )
    rows = this.partition.rows
    which = slice(*run.span) if rows is None else rows[slice(*run.span)]
    totals = [total.values[which] for found in missing for total in found]
    return Outcome(run, partials, this.by_row(), totals, note)


def _begun(client: str, payload: Payload) -> tuple[list[Request], Shard, Session]:
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


def _policy(payload: Payload) -> CachePolicy:
    return CachePolicy(payload.cache, payload.reuse)


def read_ahead(client: str, parts: Sequence[bytes], run: Run) -> None:
    """Read rows for the copy that they leave, where those that use them must wait for others."""
    payload = joined(parts)
    requests, shard, _session = _begun(client, payload)
    this = _ShardPass(requests, _policy(payload), run, shard, _worker().state.nthreads)
    if this.cache_writer is not None:
        this.cache_writer.discard()
    if isinstance(this.reader, ShardReader):
        for start, stop in run.tasks:
            for rows in this.partition.blocks(start, stop):
                this.reader.read(np.unique(rows.source_rows))
        this.reader.leave_copy(shard)


def merge(client: str, parts: Sequence[bytes], outcomes: Sequence[Outcome]) -> Outcome:
    """Merge the partial results of consecutive runs, or of groups of runs, in order."""
    if len(outcomes) == 1:
        return outcomes[0]
    requests = _prepared(client, parts)
    merged = [
        [
            one.pack(reduce(one.merge, (one.unpack(packed) for packed in _apart(outcomes, i, k))))
            for k, one in enumerate(request.reductions)
        ]
        for i, request in enumerate(requests)
    ]
    return Outcome(outcomes[0].run, merged)


def _prepared(client: str, parts: Sequence[bytes]) -> list[Request]:
    requests, _shard, _session = _begun(client, joined(parts))
    for request in requests:
        for one in request.reductions:
            one.prepare(request.matrix)
    return requests


def part(client: str, parts: Sequence[bytes], which: tuple[int, int], total: Any, number: int) -> Any:
    """Compute one part of the result of a reduction, by the numbers of its request and of itself."""
    i, k = which
    one = _prepared(client, parts)[i].reductions[k]
    return one.part(one.unpack(total), number)


def _apart(outcomes: Sequence[Outcome], i: int, k: int) -> list[Any]:
    """Return what runs found for one reduction, the first as a copy: others are added to it, and Dask keeps it."""
    first, *others = (outcome.partials[i][k] for outcome in outcomes)
    return [deepcopy(first), *others]


def rows_of(outcome: Outcome) -> tuple[Run, list[np.ndarray], list[NDArray[np.float64]], Note | None]:
    """Return what of a run goes to the client, whatever it is merged with."""
    return outcome.run, outcome.by_row, outcome.totals, outcome.note


def partials_of(outcome: Outcome) -> Partials:
    """Return what of a run is merged."""
    return outcome.partials
