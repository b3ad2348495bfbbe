"""Running a pass on threads: each fetches, inflates, transforms and reduces whole blocks; merging is in order.

Tested in `test_executor`.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import reduce
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

from ..memory.buffer_pool import BUFFERS
from ..memory.ledger import ACCOUNTANT
from .block import BlockReader, fetch
from .budget import ENTRIES_PER_ROW, LARGEST_BLOCK, LIBRARIES, allot
from .cache.columns import ColumnKeeper
from .cache.policy import CacheWriter, CacheWriterBesideColumns, choose_reader, columns_to_cache, keeps_columns
from .column_selector import ColumnChoice
from .partition import Partition
from .runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    import numpy as np

    from ..storage.sources.base import CSRBlock
    from .block import Block
    from .budget import Allotment, Worker
    from .cache.policy import Keeper
    from .partition import Rows
    from .reader import Reader
    from .reduction import Fused
    from .request import CachePolicy, Partials, Request, Results

    T = TypeVar("T")

__all__ = ["Pass", "arrays_by_row", "groups_of", "of_each"]

Method = Literal["finish", "merge", "pack", "result", "unpack"]
"""Methods of a reduction that take partial results."""


class _CancelledError(Exception):
    """Another task failed, or the user asked to stop."""


def of_each(requests: Sequence[Request], method: Method, *values: Partials) -> Partials:
    """Return, of each request, what a method of each of its reductions makes of the values for it."""
    return [
        [getattr(one, method)(*of_it) for one, *of_it in zip(request.reductions, *of_request, strict=True)]
        for request, *of_request in zip(requests, *values, strict=True)
    ]


def arrays_by_row(requests: Sequence[Request]) -> list[np.ndarray]:
    """Return the arrays that reductions write by row."""
    return [array for request in requests for reduction in request.reductions for array in reduction.by_row()]


def groups_of(partition: Partition, requests: Sequence[Request], partial_nbytes: int) -> list[list[tuple[int, int]]]:
    """Return the tasks of each group: the partition's, or each by itself of those that a reduction must have."""
    every = (reduction.tasks for request in requests for reduction in request.reductions)
    own = next((tasks for tasks in every if tasks is not None), None)
    return partition.groups(partial_nbytes) if own is None else [[task] for task in own]


class Pass:
    """One pass under way, on threads."""

    device = "cpu"
    """Device that computes."""

    why_not_on_device = ""
    """Reason why it does not run on the device of the settings."""

    holds_results = True
    """True if results are held in this process."""

    worker: Worker = {}  # noqa: RUF012 - nobody changes it
    """Threads, and part of the memory limit, where these are not those of the settings."""

    def __init__(self, requests: Sequence[Request], policy: CachePolicy) -> None:
        self.requests = requests
        self.lead = requests[0].matrix
        for request in requests:
            for reduction in request.reductions:
                if self.holds_results:
                    reduction.check_room(request.matrix)
                reduction.prepare(request.matrix)
        self.share = self.allotted()
        self.reader = self.chosen_reader(policy)  # of what is left when there is room
        least_entries = max(ENTRIES_PER_ROW, *(request.matrix.chain.least_entries() for request in requests))
        self.partition = Partition(self.reader, self.lead.selection, self.share.entries, least_entries)
        self.cache_writer = self._cache_writer_for(policy)
        self.block_readers = [BlockReader(request.matrix, self.reader.columns) for request in requests]
        self.fused = self._fused()
        self.choices = [ColumnChoice(request.matrix.selection, self.reader.columns) for request in requests]
        self.shared = self._shared_choice()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.n_blocks = 0
        self.largest_block = 0

    @property
    def is_final(self) -> bool:
        """True if values go elsewhere, and are not likely to be read again."""
        return any(reduction.is_final for request in self.requests for reduction in request.reductions)

    def allotted(self, longest: int = 0) -> Allotment:
        """Return the share of memory, with room for a row that stores `longest` entries."""
        what = f"A pass over {self.lead!r}"
        if longest:
            what = f"{what}, of which one row stores {longest:,} entries,"
        workspace = sum(reduction.workspace_nbytes() for request in self.requests for reduction in request.reductions)
        return allot(self.partial_nbytes, what, workspace, self.largest_entries(), longest, **self.worker)

    def chosen_reader(self, policy: CachePolicy) -> Reader:
        """Return what is read."""
        return choose_reader([request.matrix for request in self.requests])

    def longest(self) -> int:
        """Return the entries of the row that stores most."""
        return self.partition.longest()

    def largest_entries(self) -> int:
        """Return how many entries a block holds at most; few, where values go elsewhere and little is done to them."""
        return LARGEST_BLOCK // 4 if self.is_final else LARGEST_BLOCK

    def fit_rows(self) -> None:
        """Make room for the longest row, which is a block of its own if it has more entries than blocks may hold.

        Raises
        ------
        MemoryBudgetExceeded
            If there is none.
        """
        if self.reader.at_hand:  # rows are short
            return
        longest = self.longest()
        if longest > self.share.entries:
            self.share = self.allotted(longest)
            self.partition.entries = self.share.entries

    def _cache_writer_for(self, policy: CachePolicy) -> Keeper | None:
        if not policy.cache or self.partition.repeats_rows:
            return None
        if self.is_final:
            if not keeps_columns(self.lead, self.reader):
                return None
            keeper = ColumnKeeper(self.lead)
            if self.lead.selection.rows is None and columns_to_cache(self.lead, self.reader, reuse=False) is not None:
                return CacheWriterBesideColumns(self.lead, self.partition, keeper)
            return keeper
        columns = columns_to_cache(self.lead, self.reader, reuse=policy.reuse and len(self.requests) == 1)
        return None if columns is None else CacheWriter(self.lead, self.partition, columns)

    def _shared_choice(self) -> ColumnChoice | None:
        """Return what can be chosen while it is fetched: the same columns for all, if nothing needs the others."""
        same = all(request.matrix.selection.columns is self.lead.selection.columns for request in self.requests)
        others = self.cache_writer is not None and self.cache_writer.takes_all_columns
        totals = any(reader.needs_other_columns for reader in self.block_readers)
        usable = same and not others and not totals and self.choices[0].repeated is None
        return self.choices[0] if usable else None

    def _fused(self) -> Fused | None:
        """Return one loop for all requests, if all their reductions are of one class that offers it."""
        kinds = {type(reduction) for request in self.requests for reduction in request.reductions}
        return kinds.pop().fuse(self.requests, self.block_readers) if len(kinds) == 1 else None

    @property
    def partial_nbytes(self) -> int:
        """Bytes of the partial results of one task."""
        return sum(reduction.partial_nbytes() for request in self.requests for reduction in request.reductions)

    @property
    def in_one_piece(self) -> bool:
        """True if blocks are added one after the other to one partial result."""
        return any(reduction.in_order for request in self.requests for reduction in request.reductions)

    def partials(self) -> Partials:
        if self.fused is not None:
            return self.fused.partials()
        return [[reduction.partial() for reduction in request.reductions] for request in self.requests]

    def read(self, rows: Rows) -> list[Block]:
        """Fetch rows and make the block of each request."""
        shown = self.fetch(rows)
        blocks = [reader.read(part, rows) for reader, part in zip(self.block_readers, shown, strict=True)]
        nbytes = sum(part.indices.nbytes + part.data.nbytes for part in shown) + sum(block.nbytes for block in blocks)
        self.count(rows, nbytes)
        return blocks

    def count(self, rows: Rows, nbytes: int) -> None:
        """Take note of a block that was read."""
        with self.lock:
            self.n_blocks += 1
            self.progressed(rows.source_rows.size)
            self.largest_block = max(self.largest_block, nbytes)

    def progressed(self, n_rows: int) -> None:
        """Show that so many rows more have been read."""
        self.bar.update(n_rows)

    def fetch(self, rows: Rows) -> list[CSRBlock]:
        """Return the stored values of the columns that each request shows."""
        if self.stop.is_set():
            raise _CancelledError
        if self.shared is not None:
            shown = fetch(self.reader, rows, self.shared)
            if self.cache_writer is not None:
                self.cache_writer.shown(rows, self.shared, shown)
            return [shown] * len(self.requests)
        raw = fetch(self.reader, rows)
        for reader in self.block_readers:
            reader.complete_totals(raw, rows)
        chosen: dict[int, CSRBlock] = {}
        for request, choice in zip(self.requests, self.choices, strict=True):
            key = id(request.matrix.selection.columns)
            if key not in chosen:
                chosen[key] = choice.select(raw)
        if self.cache_writer is not None:
            self.cache_writer.fetched(rows, raw)
            self.cache_writer.shown(rows, self.choices[0], chosen[id(self.lead.selection.columns)])
        return [chosen[id(request.matrix.selection.columns)] for request in self.requests]

    def update(self, partials: Partials, blocks: list[Block]) -> None:
        for request, row, block in zip(self.requests, partials, blocks, strict=True):
            for reduction, partial in zip(request.reductions, row, strict=True):
                reduction.update(partial, block)

    def finish(self, partials: Partials) -> Partials:
        return of_each(self.requests, "finish", partials)

    def take(self, partials: Partials, rows: Rows) -> None:
        """Read rows and add them to partial results."""
        if self.fused is None:
            self.update(partials, self.read(rows))
            return
        shown = self.fetch(rows)
        looked_up = self.fused.update(partials, shown, rows)
        distinct = {id(part): part for part in shown}.values()
        self.count(rows, sum(part.indices.nbytes + part.data.nbytes for part in distinct) + looked_up)

    def task(self, start: int, stop: int) -> Partials:
        """Fill the partial results of one task."""
        partials = self.partials()
        for rows in self.partition.blocks(start, stop):
            self.take(partials, rows)
        return self.finish(partials)

    def merge(self, totals: Partials, partials: Partials) -> Partials:
        return of_each(self.requests, "merge", totals, partials)

    def merged(self, found: Iterable[Partials]) -> Partials:
        """Merge partial results of which there is at least one, in order."""
        return reduce(self.merge, found)

    def results(self, totals: Partials) -> Results:
        """Return what was asked for."""
        return of_each(self.requests, "result", totals)

    def run(self) -> Partials:
        """Run all tasks and merge their results in order; cache what was read."""
        try:
            self.fit_rows()
            share = self.share
            with (
                ACCOUNTANT.grant(beside=LIBRARIES, blocks=share.blocks_nbytes, partial_results=share.partials_nbytes),
                BUFFERS.in_use(),
                progress(self.lead.source.location, self.partition.n_rows) as self.bar,
            ):
                totals = self.reduce()
        except BaseException:
            if self.cache_writer is not None:
                self.cache_writer.discard()
            raise
        if self.cache_writer is not None:
            self.cache_writer.finish()
        return totals

    def reduce(self) -> Partials:
        """Return the results of all tasks, merged."""
        if self.in_one_piece:
            running = self.partials()
            rows = (rows for task in self.partition.tasks() for rows in self.partition.blocks(*task))
            with closing(self.in_order(self.read, ((r,) for r in rows))) as read:
                for blocks in read:
                    self.update(running, blocks)
            return self.finish(running)
        groups = groups_of(self.partition, self.requests, self.partial_nbytes)
        reductions = [reduction for request in self.requests for reduction in request.reductions]
        if self.reader.at_hand and all(one.is_final and one.tasks is None for one in reductions):
            groups = [[(0, self.partition.n_rows)]] if groups else []  # values have their places, whatever a task is
        totals: Partials | None = None
        with closing(self.in_order(self.task, (task for group in groups for task in group))) as results:
            for group in groups:
                found = self.merged(islice(results, len(group)))
                totals = found if totals is None else self.merge(totals, found)
        return self.partials() if totals is None else totals

    def in_order(self, function: Callable[..., T], calls: Iterable[tuple[object, ...]]) -> Generator[T]:
        """Run calls on the threads and yield their results in order."""
        if self.reader.at_hand:
            yield from (function(*call) for call in calls)
            return
        waiting: deque[Future[T]] = deque()
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
