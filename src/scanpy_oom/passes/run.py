"""Running a pass on threads: each fetches, inflates, transforms and reduces whole blocks; merging is in order."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..io.source import CSRBlock
from ..settings import settings
from . import budget, record
from .block import BlockReader, fetch
from .feedback import announce_compilation
from .plan import Plan

if TYPE_CHECKING:
    from ..matrix import OOMMatrix
    from .reductions import Reduction

__all__ = ["Request", "run"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a pass is to compute of one matrix.

    Parameters
    ----------
    matrix
        What to read. All requests of a pass share source and rows; columns and chains may differ.
    reductions
        What to accumulate.
    """

    matrix: OOMMatrix
    reductions: Sequence[Reduction]


class _Cancelled(Exception):
    """Another task failed, or the user asked to stop."""


class _Pass:
    """One pass under way."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.lead = requests[0].matrix
        self.n_threads = settings.n_threads
        self.plan = Plan(self.lead.source, self.lead.selection, budget.block_entries(self.n_threads))
        self.readers = [BlockReader(request.matrix) for request in requests]
        self.stop = threading.Event()
        self.n_blocks = 0
        self.largest_block = 0
        for request in requests:
            for reduction in request.reductions:
                reduction.prepare(request.matrix)

    def partials(self) -> list[list[Any]]:
        return [[reduction.partial() for reduction in request.reductions] for request in self.requests]

    def task(self, start: int, stop: int) -> list[list[Any]]:
        """Fill the partial results of one task."""
        partials = self.partials()
        for rows in self.plan.blocks(start, stop):
            if self.stop.is_set():
                raise _Cancelled
            raw = fetch(self.lead, rows)
            for k, (request, reader) in enumerate(zip(self.requests, self.readers, strict=True)):
                last = k == len(self.requests) - 1
                block = reader.read(raw if last else CSRBlock(raw.indptr, raw.indices.copy(), raw.data), rows)
                for reduction, partial in zip(request.reductions, partials[k], strict=True):
                    reduction.update(partial, block)
            self.n_blocks += 1
            self.largest_block = max(self.largest_block, raw.indices.nbytes + raw.data.nbytes + block.nbytes)
        return partials

    def merge(self, totals: list[list[Any]], partials: list[list[Any]]) -> list[list[Any]]:
        return [
            [r.merge(total, partial) for r, total, partial in zip(request.reductions, ts, ps, strict=True)]
            for request, ts, ps in zip(self.requests, totals, partials, strict=True)
        ]

    def run(self) -> list[list[Any]]:
        """Run all tasks and merge their results in order."""
        totals: list[list[Any]] | None = None
        waiting: deque[Future] = deque()
        tasks = iter(self.plan.tasks())
        with ThreadPoolExecutor(self.n_threads, thread_name_prefix="scanpy-oom") as pool:
            try:
                # one more than there are threads: none waits, and few partial results exist at a time
                while True:
                    while len(waiting) <= self.n_threads and (task := next(tasks, None)) is not None:
                        waiting.append(pool.submit(self.task, *task))
                    if not waiting:
                        break
                    partials = waiting.popleft().result()
                    totals = partials if totals is None else self.merge(totals, partials)
                    del partials
            except BaseException:
                self.stop.set()
                for future in waiting:
                    future.cancel()
                raise
        return self.partials() if totals is None else totals


def run(requests: Sequence[Request]) -> list[list[Any]]:
    """Read the rows of one source once, and return the result of each reduction of each request.

    Parameters
    ----------
    requests
        What to compute. Their matrices share source and rows.

    Returns
    -------
    One list a request, one result a reduction.
    """
    lead = requests[0].matrix
    for request in requests[1:]:
        if request.matrix.source is not lead.source or request.matrix.selection.rows is not lead.selection.rows:
            msg = "The matrices of one pass share a source and its rows."
            raise ValueError(msg)
    this = _Pass(requests)
    bytes_before, started = lead.source.bytes_read, time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(announce_compilation())
        if any(reduction.uses_blas for request in requests for reduction in request.reductions):
            stack.enter_context(threadpool_limits(1, user_api="blas"))
        totals = this.run()
    results = [
        [reduction.result(total) for reduction, total in zip(request.reductions, ts, strict=True)]
        for request, ts in zip(requests, totals, strict=True)
    ]
    partial = sum(reduction.partial_nbytes() for request in requests for reduction in request.reductions)
    record.add(
        record.PassRecord(
            location=lead.source.location,
            reductions=tuple(type(reduction).__name__ for request in requests for reduction in request.reductions),
            n_rows=this.plan.n_rows,
            n_blocks=this.n_blocks,
            bytes_read=lead.source.bytes_read - bytes_before,
            seconds=time.perf_counter() - started,
            peak_buffer=this.n_threads * this.largest_block + (this.n_threads + 2) * partial,
        )
    )
    for request in requests:
        _report_zero_rows(request.matrix)
    return results


def _report_zero_rows(matrix: OOMMatrix) -> None:
    """Give scanpy's warning about cells without counts once their totals are known."""
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    for totals in matrix.chain.totals:
        if not totals.zero_rows_reported and not (totals.values[rows] > 0).all():
            totals.zero_rows_reported = True
            if not np.isnan(totals.values[rows]).any():
                warnings.warn("Some cells have zero counts", UserWarning, stacklevel=4)
