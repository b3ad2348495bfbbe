"""Runs of tasks, which workers compute: how a pass is cut into them, what they find and what they take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from ..request import Partials
    from .row_totals import FoundTotals

__all__ = ["Note", "Outcome", "Run", "n_moves", "places", "runs_of"]

ENOUGH = 3
"""Groups for each thread of the cluster from which a group is computed as a whole, though they divide unevenly."""


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
    """What it took to compute a run, or to read its rows before.

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
        Totals of rows that it has found.
    notes
        What it took.
    """

    run: Run
    partials: Partials
    by_row: list[np.ndarray] = field(default_factory=list)
    totals: list[FoundTotals] = field(default_factory=list)
    notes: tuple[Note, ...] = ()

    def __sizeof__(self) -> int:
        """Bytes, by which Dask decides what to spill."""
        arrays = [*self.by_row, *(array for found in self.totals for array in (found.rows, found.values))]
        return sum(array.nbytes for array in arrays) + sum(_nbytes(one) for row in self.partials for one in row)


def _nbytes(packed: object) -> int:
    if isinstance(packed, list | tuple):
        return sum(_nbytes(one) for one in packed)
    return int(getattr(packed, "nbytes", 64))


def runs_of(groups: Sequence[Sequence[tuple[int, int]]], n_slots: int, *, single: bool = False) -> list[list[Run]]:
    """Cut the groups of a pass into runs, of which each is computed by one worker.

    Parameters
    ----------
    groups
        Tasks of each group.
    n_slots
        Threads of all workers.
    single
        Whether each task is a run of its own.

    Returns
    -------
    The runs of each group: one, unless there are too few groups for all threads to have about as much to do.
    """
    uneven = len(groups) % n_slots and len(groups) < ENOUGH * n_slots
    found: list[list[Run]] = []
    number = 0
    for group in groups:
        parts = [(task,) for task in group] if single or uneven else [tuple(group)]
        found.append([Run(number + k, part) for k, part in enumerate(parts)])
        number += len(parts)
    if found:
        found[-1][-1] = replace(found[-1][-1], is_last=True)
    return found


def places(n_runs: int, workers: Mapping[str, int]) -> list[str]:
    """Return the worker of each run: neighbouring rows go to one, in proportion to its threads."""
    slots = [address for address, n_threads in workers.items() for _ in range(n_threads)]
    return [slots[k * len(slots) // n_runs] for k in range(n_runs)]


def n_moves(groups: Sequence[Sequence[Run]], where: Sequence[str], *, in_order: bool, goes_here: bool) -> int:
    """Return how often partial results go to another process, the client among them.

    Parameters
    ----------
    groups
        Runs of each group.
    where
        Worker of each run, as :func:`places` has it.
    in_order
        Whether each run goes on where the one before has ended.
    goes_here
        Whether the client merges the results of all runs.
    """
    if in_order:
        return 1 + sum(a != b for a, b in pairwise(where))
    if goes_here:
        return len(where)
    merged = [where[group[0].number] for group in groups]
    of_runs = sum(where[run.number] != place for group, place in zip(groups, merged, strict=True) for run in group)
    return 1 + of_runs + sum(place != merged[0] for place in merged)
