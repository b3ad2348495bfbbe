"""Running a pass on threads: each fetches, inflates, transforms and reduces whole blocks; merging is in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.buffers import BUFFERS
from ..memory import ACCOUNTANT
from ..settings import settings
from . import record
from .blas import one_blas_thread
from .block import BlockReader, fetch
from .budget import ENTRIES_PER_ROW, LARGEST_BLOCK, LIBRARIES, allot
from .choice import ColumnChoice
from .columns import column_parts, reads_by_columns
from .feedback import announce_compilation, progress, warn_user
from .joined import below
from .pair import Pair
from .plan import Plan
from .ready import make_ready
from .recent import ColumnKeeper, RecentColumns
from .staging import Staging, choose_feed, keeps_columns, stage_columns
from .trim import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from ..io.source import CSRBlock
    from ..matrix import OOMMatrix
    from .block import Block
    from .plan import Rows
    from .reductions import Reduction

__all__ = ["Pass", "Request", "Wish", "make_pass", "run"]

COLUMN_ENTRIES = 2**20
"""Entries of the columns that are read at a time of a column-compressed source. Sums of rows are added up by these
parts: so their size does not depend on the limit."""


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


@dataclass(frozen=True, slots=True)
class Wish:
    """Whether what is read may be staged, and whether it will be read again."""

    stage: bool
    reuse: bool


class _CancelledError(Exception):
    """Another task failed, or the user asked to stop."""


class Pass:
    """One pass under way, on threads."""

    device = "cpu"
    """Where it computes."""

    why_not_on_device = ""
    """What keeps it from the device of the settings."""

    def __init__(self, requests: Sequence[Request], staging: Wish) -> None:
        self.requests = requests
        self.lead = requests[0].matrix
        what = " and ".join(sorted({type(r).__name__ for request in requests for r in request.reductions}))
        self.feed = choose_feed([request.matrix for request in requests])
        for request in requests:
            for reduction in request.reductions:
                reduction.prepare(request.matrix)
        workspace = sum(reduction.workspace_nbytes() for request in requests for reduction in request.reductions)
        self.share = allot(self.partial_nbytes, f"{what} of {self.lead!r}", workspace, self.largest_entries())
        least_entries = max(ENTRIES_PER_ROW, *(request.matrix.chain.least_entries() for request in requests))
        self.plan = Plan(self.feed, self.lead.selection, self.share.entries, least_entries)
        self.staging = self._staging(staging)
        self.readers = [BlockReader(request.matrix, self.feed.columns) for request in requests]
        self.pair = Pair.of(requests, self.readers)
        self.choices = [ColumnChoice(request.matrix.selection, self.feed.columns) for request in requests]
        self.shared = self._shared_choice()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.n_blocks = 0
        self.largest_block = 0

    @property
    def is_final(self) -> bool:
        """Whether values go elsewhere, and are not likely to be read again."""
        return any(reduction.is_final for request in self.requests for reduction in request.reductions)

    def largest_entries(self) -> int:
        """Return how many entries a block holds at most; few, where values go elsewhere and little is done to them."""
        return LARGEST_BLOCK // 4 if self.is_final else LARGEST_BLOCK

    def _staging(self, wish: Wish) -> Staging | ColumnKeeper | None:
        if not wish.stage or self.plan.repeats_rows:
            return None
        if self.is_final:
            return ColumnKeeper(self.lead) if keeps_columns(self.lead, self.feed) else None
        columns = stage_columns(self.lead, self.feed, reuse=wish.reuse and len(self.requests) == 1)
        return None if columns is None else Staging(self.lead, self.plan, columns)

    def _shared_choice(self) -> ColumnChoice | None:
        """Return what can be chosen while it is fetched: the same columns for all, if nothing needs the others."""
        same = all(request.matrix.selection.columns is self.lead.selection.columns for request in self.requests)
        others = self.staging is not None and self.staging.takes_all_columns
        totals = any(reader.needs_other_columns for reader in self.readers)
        usable = same and not others and not totals and self.choices[0].repeated is None
        return self.choices[0] if usable else None

    @property
    def partial_nbytes(self) -> int:
        """Bytes of the partial results of one task."""
        return sum(reduction.partial_nbytes() for request in self.requests for reduction in request.reductions)

    @property
    def in_one_piece(self) -> bool:
        """Whether blocks are added one after the other to one partial result."""
        return any(reduction.in_order for request in self.requests for reduction in request.reductions)

    def partials(self) -> list[list[Any]]:
        if self.pair is not None:
            return self.pair.partials()
        return [[reduction.partial() for reduction in request.reductions] for request in self.requests]

    def read(self, rows: Rows) -> list[Block]:
        """Fetch rows and make the block of each request."""
        shown = self.fetch(rows)
        blocks = [reader.read(part, rows) for reader, part in zip(self.readers, shown, strict=True)]
        nbytes = sum(part.indices.nbytes + part.data.nbytes for part in shown) + sum(block.nbytes for block in blocks)
        self.count(rows, nbytes)
        return blocks

    def count(self, rows: Rows, nbytes: int) -> None:
        """Take note of a block that was read."""
        with self.lock:
            self.n_blocks += 1
            self.bar.update(rows.source_rows.size)
            self.largest_block = max(self.largest_block, nbytes)

    def fetch(self, rows: Rows) -> list[CSRBlock]:
        """Return the stored values of the columns that each request shows."""
        if self.stop.is_set():
            raise _CancelledError
        if self.shared is not None:
            shown = fetch(self.feed, rows, self.shared)
            if self.staging is not None:
                self.staging.shown(rows, self.shared, shown)
            return [shown] * len(self.requests)
        raw = fetch(self.feed, rows)
        for reader in self.readers:
            reader.complete_totals(raw, rows)
        chosen: dict[int, CSRBlock] = {}
        for request, choice in zip(self.requests, self.choices, strict=True):
            key = id(request.matrix.selection.columns)
            if key not in chosen:
                chosen[key] = choice.select(raw)
        if self.staging is not None:
            self.staging.fetched(rows, raw)
            self.staging.shown(rows, self.choices[0], chosen[id(self.lead.selection.columns)])
        return [chosen[id(request.matrix.selection.columns)] for request in self.requests]

    def update(self, partials: list[list[Any]], blocks: list[Block]) -> None:
        for request, row, block in zip(self.requests, partials, blocks, strict=True):
            for reduction, partial in zip(request.reductions, row, strict=True):
                reduction.update(partial, block)

    def finish(self, partials: list[list[Any]]) -> list[list[Any]]:
        return [
            [reduction.finish(partial) for reduction, partial in zip(request.reductions, row, strict=True)]
            for request, row in zip(self.requests, partials, strict=True)
        ]

    def take(self, partials: list[list[Any]], rows: Rows) -> None:
        """Read rows and add them to partial results."""
        if self.pair is None:
            self.update(partials, self.read(rows))
            return
        shown, _ = self.fetch(rows)
        looked_up = self.pair.update(partials, shown, rows)
        self.count(rows, shown.indices.nbytes + shown.data.nbytes + looked_up)

    def task(self, start: int, stop: int) -> list[list[Any]]:
        """Fill the partial results of one task."""
        partials = self.partials()
        for rows in self.plan.blocks(start, stop):
            self.take(partials, rows)
        return self.finish(partials)

    def merge(self, totals: list[list[Any]], partials: list[list[Any]]) -> list[list[Any]]:
        return [
            [r.merge(total, partial) for r, total, partial in zip(request.reductions, ts, ps, strict=True)]
            for request, ts, ps in zip(self.requests, totals, partials, strict=True)
        ]

    def results(self, totals: list[list[Any]]) -> list[list[Any]]:
        """Return what was asked for."""
        return [
            [reduction.result(total) for reduction, total in zip(request.reductions, ts, strict=True)]
            for request, ts in zip(self.requests, totals, strict=True)
        ]

    def run(self) -> list[list[Any]]:
        """Run all tasks and merge their results in order; stage what was read."""
        share = self.share
        try:
            with (
                ACCOUNTANT.grant(beside=LIBRARIES, blocks=share.blocks_nbytes, partial_results=share.partials_nbytes),
                BUFFERS.in_use(),
                progress(self.lead.source.location, self.plan.n_rows) as self.bar,
            ):
                totals = self.reduce()
        except BaseException:
            if self.staging is not None:
                self.staging.discard()
            raise
        if self.staging is not None:
            self.staging.finish()
        return totals

    def reduce(self) -> list[list[Any]]:
        """Return the results of all tasks, merged."""
        if self.in_one_piece:
            totals = self.partials()
            rows = (rows for task in self.plan.tasks() for rows in self.plan.blocks(*task))
            with closing(self.in_order(self.read, ((r,) for r in rows))) as read:
                for blocks in read:
                    self.update(totals, blocks)
            return self.finish(totals)
        with closing(self.in_order(self.task, self.plan.tasks(self.partial_nbytes))) as results:
            first = next(results, None)
            totals = self.partials() if first is None else first
            for partials in results:
                totals = self.merge(totals, partials)
        return totals

    def in_order(self, function: Callable[..., Any], calls: Iterable[tuple]) -> Generator[Any]:
        """Run calls on the threads and yield their results in order."""
        waiting: deque[Future] = deque()
        remaining = iter(calls)
        with ThreadPoolExecutor(self.share.n_threads, thread_name_prefix="scanpy-oom") as pool:
            try:
                while True:
                    while len(waiting) < self.share.n_tasks and (call := next(remaining, None)) is not None:
                        waiting.append(pool.submit(function, *call))
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:
                # where nothing went wrong nothing is left to stop
                self.stop.set()
                for future in waiting:
                    future.cancel()


def make_pass(requests: Sequence[Request], staging: Wish) -> Pass:
    """Return a pass on the device of the settings, or on the CPU where that does not cover it."""
    if settings.device == "cpu":
        return Pass(requests, staging)
    from .device.run import pass_on_device

    return pass_on_device(requests, staging)


def _in_one_go(requests: Sequence[Request], staging: Wish) -> tuple[Pass, list[list[Any]]]:
    """Go through the rows once."""
    this = make_pass(requests, staging)
    return this, this.results(this.run())


def _by_columns(requests: Sequence[Request], staging: Wish) -> tuple[Pass, list[list[Any]]]:
    """Go through the columns of a column-compressed source, some at a time, and join what comes out."""
    (request,) = requests
    for reduction in request.reductions:
        reduction.prepare(request.matrix)  # refuses what will not fit in the end
    n_blocks = largest = 0
    parts = []
    for part in column_parts(request.matrix, COLUMN_ENTRIES):
        this, results = _in_one_go([Request(part, request.reductions)], staging)
        n_blocks, largest = n_blocks + this.n_blocks, max(largest, this.largest_block)
        parts.append(results[0])
    this.n_blocks, this.largest_block = n_blocks, largest
    return this, [[r.join(list(part)) for r, part in zip(request.reductions, zip(*parts, strict=True), strict=True)]]


def run(requests: Sequence[Request], *, stage: bool = True, reuse: bool = False) -> list[list[Any]]:
    """Read the rows of one source once, and return the result of each reduction of each request.

    Parameters
    ----------
    requests
        What to compute. Their matrices share source and rows.
    stage
        Whether what is read may be staged.
    reuse
        Whether what is read will be read again: then it is staged, if it is a small part of the columns.

    Returns
    -------
    One list a request, one result a reduction.
    """
    lead = requests[0].matrix
    for request in requests[1:]:
        if request.matrix.source is not lead.source or request.matrix.selection.rows is not lead.selection.rows:
            msg = "The matrices of one pass share a source and its rows."
            raise ValueError(msg)
    bytes_before, started = lead.source.bytes_read, time.perf_counter()
    reductions = [reduction for request in requests for reduction in request.reductions]
    gene_major = len(requests) == 1 and reads_by_columns(lead) and all(r.by_columns for r in reductions)
    gene_major = gene_major or any(r.needs_columns for r in reductions)
    with ExitStack() as stack:
        stack.callback(return_freed_memory)
        stack.enter_context(announce_compilation())
        make_ready()
        if any(reduction.uses_blas for reduction in reductions):
            stack.enter_context(one_blas_thread())
        this, results = (_by_columns if gene_major else _in_one_go)(requests, Wish(stage, reuse))
    if not isinstance(this.feed, RecentColumns):  # which are at hand: nothing is passed over
        record.add(
            record.PassRecord(
                location=lead.source.location,
                reductions=tuple(type(reduction).__name__ for reduction in reductions),
                n_rows=this.plan.n_rows,
                n_blocks=this.n_blocks,
                bytes_read=lead.source.bytes_read - bytes_before,
                seconds=time.perf_counter() - started,
                peak_buffer=this.share.n_threads * this.largest_block + this.share.partials_nbytes,
                device=this.device,
                why_not_on_device=this.why_not_on_device,
            )
        )
    for request in requests:
        for matrix in below(request.matrix):
            _report_zero_rows(matrix)
    return results


def _report_zero_rows(matrix: OOMMatrix) -> None:
    """Give scanpy's warning about cells without counts once their totals are known."""
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    for totals in matrix.chain.totals:
        found = totals.values[rows]
        if not totals.zero_rows_reported and (found <= 0).any() and not np.isnan(found).any():
            totals.zero_rows_reported = True
            warn_user("Some cells have zero counts")
