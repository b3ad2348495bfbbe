"""A pass over a run of rows, on a worker."""

from __future__ import annotations

from copy import deepcopy
from functools import reduce
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from ...memory.buffer_pool import BUFFERS
from ...memory.ledger import ACCOUNTANT
from ..budget import LIBRARIES
from ..cache.policy import needed_columns
from ..partition import in_source_order
from ..thread_pass import Pass, arrays_by_row, of_each
from .shard import ShardReader, SpanWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..cache.policy import Keeper
    from ..reader import Reader
    from ..request import CachePolicy, Partials, Request
    from .runs import Run
    from .shard import Shard

__all__ = ["ShardPass"]


class ShardPass(Pass):
    """A pass over a run of rows, in the thread that calls.

    Parameters
    ----------
    requests, policy
        As of :class:`~scanpy_oom.engine.thread_pass.Pass`.
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
        return self.shard.reader(self.rows, needed, caches=policy.cache and not self.is_final)

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
