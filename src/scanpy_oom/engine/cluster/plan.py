"""Plans of distributed passes: which tasks are computed together, and by whom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .worker import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["places", "runs_of"]

ENOUGH = 3
"""Groups for each thread of the cluster from which a group is computed as a whole, though they divide unevenly."""


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
