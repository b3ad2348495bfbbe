"""Tasks of workers: runs are computed, their results merged, and parts of results computed from these."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import MemoryBudgetExceeded
from ...memory.rss import resident_memory
from ..request import CachePolicy
from ..runtime.blas import one_blas_thread
from .payload import joined
from .row_totals import found_totals
from .runs import Note, Outcome
from .session import begun, return_what_dask_would_count, this_worker
from .shard import ShardReader
from .shard_pass import ShardPass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..request import Partials, Request
    from .payload import Payload
    from .row_totals import FoundTotals
    from .runs import Run
    from .shard import Shard

__all__ = ["merge", "part", "partials_of", "read_ahead", "rows_of", "work"]


def work(client: str, parts: Sequence[bytes], run: Run, before: Outcome | None = None, *ahead: Note) -> Outcome:
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
    ahead
        What it took to read its rows before.
    """
    payload = joined(parts)
    requests, shard, _session = begun(client, payload)
    taking = _Taking(shard)
    with _refusals_name_the_worker(), ExitStack() as stack:
        if any(reduction.uses_blas for request in requests for reduction in request.reductions):
            stack.enter_context(one_blas_thread())
        this = ShardPass(requests, _policy(payload), run, shard, this_worker().state.nthreads)
        if payload.folder is not None:
            this.exchange_by(Path(payload.folder))
        partials = this.compute(None if before is None else before.partials)
    return_what_dask_would_count()
    peak = this.largest_block + this.share.partials_nbytes
    note = taking.note(n_rows=run.span[1] - run.span[0], n_blocks=this.n_blocks, peak_buffer=peak)
    totals = list(found_totals(requests, payload.missing, this.rows))
    return Outcome(run, partials, this.by_row(), totals, (*ahead, note))


class _Taking:
    """What a task takes, from when it begins."""

    def __init__(self, shard: Shard) -> None:
        self._source = shard.source
        self._started = time.perf_counter()
        self._bytes_before = self._source.bytes_read

    def note(self, **found: int) -> Note:
        """Return it, with what is known of it beside."""
        return Note(
            worker=str(this_worker().address),
            bytes_before=self._bytes_before,
            bytes_after=self._source.bytes_read,
            seconds=time.perf_counter() - self._started,
            resident=resident_memory(),
            **found,
        )


@contextmanager
def _refusals_name_the_worker() -> Iterator[None]:
    try:
        yield
    except MemoryBudgetExceeded as error:
        where = f"On worker {this_worker().address}, where less than its limit in Dask is left"
        msg = f"{where}: {error} Or give workers more memory, or fewer threads."
        raise MemoryBudgetExceeded(msg) from error


def _policy(payload: Payload) -> CachePolicy:
    return CachePolicy(payload.cache, payload.reuse)


def read_ahead(client: str, parts: Sequence[bytes], run: Run) -> Note:
    """Read rows for the copy that they leave, where those that use them must wait for others; return what it took."""
    payload = joined(parts)
    requests, shard, _session = begun(client, payload)
    taking = _Taking(shard)
    with _refusals_name_the_worker():
        this = ShardPass(requests, _policy(payload), run, shard, this_worker().state.nthreads)
        if this.cache_writer is not None:
            this.cache_writer.discard()
        if isinstance(this.reader, ShardReader):
            for start, stop in run.tasks:
                for rows in this.partition.blocks(start, stop):
                    this.reader.read(np.unique(rows.source_rows))
            this.reader.leave_copy(shard)
    return taking.note(n_rows=0, n_blocks=0, peak_buffer=0)


def merge(client: str, parts: Sequence[bytes], outcomes: Sequence[Outcome]) -> Outcome:
    """Merge the partial results of consecutive runs, or of groups of runs, in order."""
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
    requests, _shard, _session = begun(client, joined(parts))
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


def rows_of(outcome: Outcome) -> tuple[Run, list[np.ndarray], list[FoundTotals], tuple[Note, ...]]:
    """Return what of a run goes to the client, whatever it is merged with."""
    return outcome.run, outcome.by_row, outcome.totals, outcome.notes


def partials_of(outcome: Outcome) -> Partials:
    """Return what of a run is merged."""
    return outcome.partials
