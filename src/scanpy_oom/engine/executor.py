"""The executor of this process: passes are made on threads, or on the device of the settings."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..memory.malloc_trim import return_freed_memory
from ..settings import settings
from .abc import Executor
from .cache.loops import copy_for_loop
from .cache.rows import edges
from .columnwise import column_parts, goes_by_columns
from .reader import SourceReader
from .request import CachePolicy, Request, Step
from .runtime import pass_log
from .runtime.blas import one_blas_thread
from .runtime.empty_rows import report_zero_rows
from .runtime.progress import announce_compilation
from .runtime.warmup import make_ready
from .thread_pass import Pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..matrix import OOMMatrix
    from .reduction import Reduction
    from .request import Results

__all__ = ["LocalExecutor", "make_pass"]

COLUMN_ENTRIES = 2**20
"""Entries of the columns that are read at a time of a column-compressed source. Sums of rows are added up by these
parts: so their size does not depend on the limit."""


def make_pass(requests: Sequence[Request], policy: CachePolicy) -> Pass:
    """Return a pass on the device of the settings, or on the CPU where that does not cover it."""
    if settings.device == "cpu":
        return Pass(requests, policy)
    from .device.executor import pass_on_device

    return pass_on_device(requests, policy)


def _in_one_go(requests: Sequence[Request], policy: CachePolicy) -> tuple[Pass, Results]:
    """Go through the rows once."""
    this = make_pass(requests, policy)
    return this, this.results(this.run())


def _by_columns(requests: Sequence[Request], policy: CachePolicy) -> tuple[Pass, Results]:
    """Go through the columns of a column-compressed source, some at a time, and join what comes out."""
    (request,) = requests
    for reduction in request.reductions:
        reduction.check_room(request.matrix)  # for all columns
    n_blocks = largest = 0
    parts = []
    for part in column_parts(request.matrix, COLUMN_ENTRIES):
        this, results = _in_one_go([Request(part, request.reductions)], policy)
        n_blocks, largest = n_blocks + this.n_blocks, max(largest, this.largest_block)
        parts.append(results[0])
    this.n_blocks, this.largest_block = n_blocks, largest
    return this, [[r.join(list(part)) for r, part in zip(request.reductions, zip(*parts, strict=True), strict=True)]]


class LocalExecutor(Executor):
    """Makes passes in this process: on threads, or on the device of the settings.

    Parameters
    ----------
    why_here
        Why it is not another engine that makes them, as a phrase; empty where there is none.
    """

    def __init__(self, why_here: str = "") -> None:
        self._why_here = why_here

    def run(self, step: Step) -> Results:
        """Make a pass."""
        requests, lead = step.requests, step.requests[0].matrix
        if step.is_turn:
            copy_for_loop([request.matrix for request in requests], self._run_alone, cache=step.cache)
        bytes_before, started = lead.source.bytes_read, time.perf_counter()
        reductions = [reduction for request in requests for reduction in request.reductions]
        gene_major = goes_by_columns(requests)
        this: Pass | None = None

        def give_back() -> None:
            if this is None or not this.reader.at_hand:
                return_freed_memory()

        with ExitStack() as stack:
            stack.callback(give_back)
            stack.enter_context(announce_compilation())
            make_ready()
            if any(reduction.uses_blas for reduction in reductions):
                stack.enter_context(one_blas_thread())
            this, results = (_by_columns if gene_major else _in_one_go)(requests, CachePolicy(step.cache, step.reuse))
        this.why_not_on_device = self._why_here or this.why_not_on_device
        _take_note(this, requests, lead.source.bytes_read - bytes_before, time.perf_counter() - started)
        for request in requests:
            report_zero_rows(request.matrix)
        return results

    def _run_alone(self, matrix: OOMMatrix, reduction: Reduction) -> Any:
        return self.run(Step([Request(matrix, [reduction])], is_turn=False))[0][0]


def _take_note(this: Pass, requests: Sequence[Request], nbytes: int, seconds: float) -> None:
    """Record a pass that was made, and which rows it has fetched from the file."""
    lead = requests[0].matrix
    if this.reader.at_hand:  # nothing was passed over
        return
    if lead.selection.rows is not None and lead.selection.rows.size and isinstance(this.reader, SourceReader):
        lead.copies.loop.add(*edges(lead.selection.rows), nbytes)
    pass_log.add(
        pass_log.PassRecord(
            location=lead.source.location,
            reductions=tuple(type(r).__name__ for request in requests for r in request.reductions),
            n_rows=this.partition.n_rows,
            n_blocks=this.n_blocks,
            bytes_read=nbytes,
            seconds=seconds,
            peak_buffer=this.share.n_threads * this.largest_block + this.share.partials_nbytes,
            device=this.device,
            why_not_on_device=this.why_not_on_device,
        )
    )
