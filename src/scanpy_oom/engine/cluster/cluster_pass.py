"""A pass on a cluster, as the client sees it: runs are handed to workers, and what they find is put together.

Tested in `test_executor`.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import CancelledError
from functools import reduce
from itertools import count, groupby, islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import as_completed
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from ...errors import OOMError
from ...settings import settings
from ..abc import Distribution
from ..budget import LARGE
from ..partition import Partition
from ..reader import SourceReader
from ..runtime import pass_log
from ..runtime.empty_rows import report_zero_rows
from ..runtime.progress import progress
from ..thread_pass import arrays_by_row, groups_of, of_each
from .client import memory_limit, this_process
from .payload import Payload, pieces, token
from .row_totals import all_totals, missing
from .runs import Outcome, n_moves, places, runs_of
from .worker import merge, part, partials_of, read_ahead, rows_of, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from distributed import Future

    from ..reduction import Reduction
    from ..request import Partials, Request, Results, Step
    from .client import Cluster
    from .row_totals import FoundTotals
    from .runs import Note, Run

    Task: TypeAlias = Future[Any]
    """What a worker does, or has found."""

__all__ = ["ClusterPass"]


AT_ONCE = 8
"""Results that one task merges with those before, unless they are large."""


class ClusterPass:
    """One pass under way, on workers.

    Parameters
    ----------
    cluster
        The workers.
    step
        The pass.
    content
        Its requests and their sources, pickled.
    folder
        Folder by way of which workers exchange entries, if they do.
    """

    def __init__(
        self, cluster: Cluster, step: Step, content: tuple[bytes, dict[str, bytes]], folder: Path | None = None
    ) -> None:
        self.client = cluster.client
        self.cluster = cluster
        self.requests = step.requests
        self.lead = step.requests[0].matrix
        self.totals = all_totals(self.requests)
        self.missing = missing(self.requests)
        for request in self.requests:
            for reduction in request.reductions:
                reduction.check_room(request.matrix)
                reduction.prepare(request.matrix)
        self.partition = Partition(SourceReader(self.lead.source), self.lead.selection, 1)
        token(self.lead.source)
        self.payload = Payload(
            *content,
            cache=step.cache and settings.cache != "off",
            reuse=step.reuse,
            memory_limit=memory_limit(),
            client=this_process(),
            folder=None if folder is None else str(folder),
            missing=self.missing,
        )
        reductions = list(self._reductions())
        self.in_order = any(reduction.in_order for reduction in reductions)
        self.goes_here = any(reduction.is_final for reduction in reductions)
        self.partial_nbytes = sum(reduction.partial_nbytes() for reduction in reductions)
        self.name = "+".join(dict.fromkeys(type(reduction).__name__ for reduction in reductions))
        self.key = uuid4().hex
        self.numbers = count()
        self.futures: list[Task] = []
        self.notes: list[Note] = []

    def _reductions(self) -> Iterator[Reduction]:
        return (reduction for request in self.requests for reduction in request.reductions)

    def results(self) -> Results:
        """Return what was asked for."""
        started = time.perf_counter()
        try:
            with progress(self.lead.source.location, self.partition.n_rows) as self.bar:
                results = self._results(self._totals())
        except KilledWorker as error:
            self._cancel()
            raise self._killed(error) from error
        except (CancelledError, ClosedClientError, CommClosedError) as error:
            self._cancel()
            raise self._lost(error) from error
        except BaseException:
            self._cancel()
            raise
        self.futures.clear()
        self._take_note(time.perf_counter() - started)
        for request in self.requests:
            report_zero_rows(request.matrix)
        return results

    def _results(self, totals: Partials) -> Results:
        """Return what was asked for; what can be computed in parts, workers compute."""
        return [
            [self._result(i, k, reduction, totals[i][k]) for k, reduction in enumerate(request.reductions)]
            for i, request in enumerate(self.requests)
        ]

    def _result(self, i: int, k: int, reduction: Reduction, total: Any) -> Any:
        n = reduction.n_parts(total)
        if not n:
            return reduction.result(total)
        merged = self._submit(_piece, reduction.pack(total), name="total")
        futures = {
            self._submit(part, self.client.id, self.parts, (i, k), merged, number, name=f"{self.name}-part"): number
            for number in range(n)
        }
        found = (
            (futures[one], result)
            for batch in as_completed(futures, loop=self.client.loop).batches()
            for one, result in zip(batch, self._fetched(batch), strict=True)
        )
        return reduction.put_together(total, found)

    def _cancel(self) -> None:
        """Have no more runs begun."""
        self.cluster.cancel(self.futures)
        self.futures.clear()

    def distribution(self) -> Distribution:
        """Return how the pass would be made."""
        workers = self.cluster.workers()
        groups = self._groups(workers)
        n_runs = sum(map(len, groups))
        values = sum(map(_values_nbytes, self.requests))
        totals = sum(8 * min(self.partition.n_rows, self.totals[k].values.size) for k in self.missing)
        sent = sum(map(len, pieces(self.payload))) * len(workers)
        n = n_moves(groups, places(n_runs, workers), in_order=self.in_order, goes_here=self.goes_here)
        return Distribution(self.cluster.title, n_runs, sent + values + totals + self.partial_nbytes * n)

    def _groups(self, workers: Mapping[str, int]) -> list[list[Run]]:
        """Return the runs of each group of tasks."""
        tasks = groups_of(self.partition, self.requests, self.partial_nbytes)
        return runs_of(tasks, sum(workers.values()), single=self.goes_here)

    def _totals(self) -> Partials:
        """Return the merged partial results, once everything that was written by row is in its place."""
        workers = self.cluster.workers()
        groups = self._groups(workers)
        runs = [run for group in groups for run in group]
        self.places = places(len(runs), workers)
        sent = list(pieces(self.payload))
        # each piece a task; the list of them, too, since not all versions of Dask look for tasks within lists
        apart = sent if len(sent) == 1 else [self._submit(_piece, piece, name="payload") for piece in sent]
        self.parts = self._submit(_piece, apart, name="payload")
        if self.goes_here and not self.in_order:
            return self._gathered(groups, 2 * sum(workers.values()))
        if self.in_order:
            outcomes = self._one_by_one(runs)
            total = outcomes[-1]
        else:
            outcomes = self._computed(runs)
            total = self._merged(groups, outcomes)
        found = self._submit(partials_of, total, name="total") if total is outcomes[-1] else total
        self._place_rows(outcomes)
        partials = self._fetched(found)
        return self._unpacked(partials.partials if isinstance(partials, Outcome) else partials)

    def _submit(self, function: Any, *arguments: Any, name: str, run: Run | None = None) -> Task:
        future = self.client.submit(
            function,
            *arguments,
            key=self._key(name),
            workers=None if run is None else [self.places[run.number]],
            allow_other_workers=run is not None,
            pure=False,
        )
        self.futures.append(future)
        return future

    def _key(self, name: str) -> str:
        """Return the key of a task, by whose name Dask's dashboard shows it."""
        return f"{name}-{self.key}-{next(self.numbers)}"

    def _map(self, name: str, function: Any, *arguments: Sequence[Any], worker: str | None = None) -> list[Task]:
        """Hand over several tasks at once: each message to the scheduler takes some milliseconds."""
        futures = self.client.map(
            function,
            *arguments,
            key=[self._key(name) for _ in arguments[0]],
            workers=None if worker is None else [worker],
            allow_other_workers=worker is not None,
            pure=False,
        )
        self.futures += futures
        return list(futures)

    def _computed(self, runs: Sequence[Run]) -> list[Task]:
        """Have runs computed, in whatever order."""
        outcomes: list[Task] = []
        for worker, some in groupby(runs, key=lambda run: self.places[run.number]):
            theirs = list(some)
            n = len(theirs)
            outcomes += self._map(self.name, work, [self.client.id] * n, [self.parts] * n, theirs, worker=worker)
        return outcomes

    def _work(self, run: Run, before: Task | None = None, *after: Task) -> Task:
        """Have a run computed."""
        return self._submit(work, self.client.id, self.parts, run, before, *after, name=self.name, run=run)

    def _one_by_one(self, runs: Sequence[Run]) -> list[Task]:
        """Have runs computed one after the other; what they read is read before, at once."""
        ahead: list[list[Task]] = [[] for _ in runs]
        if self.payload.cache and self.lead.source.is_slow and len(runs) > 1:
            ahead = [
                [self._submit(read_ahead, self.client.id, self.parts, run, name="read-ahead", run=run)] for run in runs
            ]
        outcomes: list[Task] = []
        for run, first in zip(runs, ahead, strict=True):
            outcomes.append(self._work(run, outcomes[-1] if outcomes else None, *first))
        return outcomes

    def _merged(self, groups: Sequence[Sequence[Run]], outcomes: Sequence[Task]) -> Task:
        """Have the results of runs merged, in their groups and then group by group, as on threads."""
        of_groups = [self._merge([outcomes[run.number] for run in group], group[0]) for group in groups]
        return self._merge(of_groups, groups[0][0])

    def _merge(self, outcomes: Sequence[Task], run: Run) -> Task:
        at_once = 1 if self.partial_nbytes >= LARGE else AT_ONCE  # which are in memory together
        total, *others = outcomes
        for start in range(0, len(others), at_once):
            some = [total, *others[start : start + at_once]]
            total = self._submit(merge, self.client.id, self.parts, some, name=f"{self.name}-merge", run=run)
        return total

    def _gathered(self, groups: Sequence[Sequence[Run]], n_ahead: int) -> Partials:
        """Merge results here, in groups as on threads, as they are what was asked for; a few runs are under way."""
        remaining = (run for group in groups for run in group)
        waiting = deque(self._work(run) for run in islice(remaining, n_ahead))

        def next_one() -> Partials:
            future = waiting.popleft()
            outcome: Outcome = self._fetched(future)
            self.futures.remove(future)
            future.release()
            waiting.extend(self._work(run) for run in islice(remaining, 1))
            self._place(*rows_of(outcome))
            return self._unpacked(outcome.partials)

        return reduce(self._merge_here, (reduce(self._merge_here, (next_one() for _ in group)) for group in groups))

    def _fetched(self, futures: Task | list[Task]) -> Any:
        """Wait for what tasks have found and fetch it, not by way of the scheduler if workers can be reached."""
        return self.client.gather(futures, direct=self.cluster.reaches_workers)

    def _merge_here(self, totals: Partials, partials: Partials) -> Partials:
        return of_each(self.requests, "merge", totals, partials)

    def _unpacked(self, partials: Partials) -> Partials:
        return of_each(self.requests, "unpack", partials)

    def _place_rows(self, outcomes: Sequence[Task]) -> None:
        """Put what runs have written by row in its place, as they end."""
        futures = self._map("rows", rows_of, outcomes)
        for ended in as_completed(futures, loop=self.client.loop).batches():
            for found in self._fetched(ended):
                self._place(*found)

    def _place(self, run: Run, by_row: Sequence[Any], totals: Sequence[FoundTotals], notes: Sequence[Note]) -> None:
        start, stop = run.span
        positions = self.partition.positions(start, stop)
        for array, rows in zip(arrays_by_row(self.requests), by_row, strict=True):
            array[positions] = rows
        for found in totals:
            self.totals[found.number].values[found.rows] = found.values
        self.bar.update(stop - start)
        self.notes.extend(notes)

    def _killed(self, error: KilledWorker) -> OOMError:
        msg = (
            f"Workers of the Dask cluster died again and again while they computed {self.name} of "
            f"{self.lead.source.location}, the last one at {error.last_worker.address}. They may have too little "
            "memory. Give the workers more memory, use fewer threads per worker, or lower "
            "`scanpy_oom.settings.memory_limit`."
        )
        return OOMError(msg)

    def _lost(self, error: Exception) -> OOMError:
        msg = (
            f"Dask lost {self.name} of {self.lead.source.location} ({error}): its scheduler has ended, or the client "
            "was restarted or closed meanwhile. Make another client, or compute in this process: "
            "`scanpy_oom.settings.engine = 'threads'`."
        )
        return OOMError(msg)

    def _take_note(self, seconds: float) -> None:
        read: dict[str, tuple[int, int]] = {}
        for note in self.notes:
            low, high = read.get(note.worker, (note.bytes_before, note.bytes_after))
            read[note.worker] = min(low, note.bytes_before), max(high, note.bytes_after)
        pass_log.add(
            pass_log.PassRecord(
                location=self.lead.source.location,
                reductions=tuple(type(reduction).__name__ for reduction in self._reductions()),
                n_rows=self.partition.n_rows,
                n_blocks=sum(note.n_blocks for note in self.notes),
                bytes_read=sum(high - low for low, high in read.values()),
                seconds=seconds,
                peak_buffer=max(note.peak_buffer for note in self.notes),
                device=self.cluster.title,
                workers=tuple(self._shares(read)),
            )
        )

    def _shares(self, read: Mapping[str, tuple[int, int]]) -> Iterator[pass_log.WorkerShare]:
        """Yield what each worker has done of the pass."""
        for worker, (low, high) in sorted(read.items()):
            notes = [note for note in self.notes if note.worker == worker]
            yield pass_log.WorkerShare(
                worker=worker,
                n_rows=sum(note.n_rows for note in notes),
                bytes_read=high - low,
                seconds=sum(note.seconds for note in notes),
                resident=max(note.resident for note in notes),
            )


def _values_nbytes(request: Request) -> int:
    """Return the bytes of what is written by row, or of all values where these are asked for."""
    by_row = sum(array.nbytes for array in arrays_by_row([request]))
    is_final = any(reduction.is_final for reduction in request.reductions)
    return max(by_row, request.matrix.nbytes_in_memory) if is_final else by_row


def _piece(content: Any) -> Any:
    """Be a task that any worker can do again, as Dask can no more with data that were scattered."""
    return content
