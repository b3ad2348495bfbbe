"""Functions of shared data that are called on workers, for each of many tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import numpy as np
from distributed.client import FutureCancelledError

from ..runtime.blas import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Future

    from .client import Cluster

    S = TypeVar("S")
    T = TypeVar("T")
    R = TypeVar("R")

__all__ = ["spread"]

PARTS = 8
"""Runs of tasks for each thread of the cluster."""

TRIES = 5
"""Times that shared data are sent again, because all workers that held them have died."""


def spread(cluster: Cluster, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[R]:
    """Yield what a function gives for each task, in order; see :meth:`~scanpy_oom.engine.abc.Executor.spread`."""
    n_slots = sum(cluster.workers().values())
    size = max(1, -(-len(tasks) // (PARTS * n_slots)))
    runs = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    done = 0
    for left in reversed(range(TRIES)):
        futures = _begun(cluster, function, shared, runs[done:])
        try:
            for future in futures:
                found = cluster.client.gather(future, direct=cluster.reaches_workers)
                done += 1
                yield from found
        except FutureCancelledError:
            if not left or cluster.client.status != "running":
                raise
        else:
            return
        finally:
            cluster.cancel(futures)


def _begun(
    cluster: Cluster, function: Callable[[S, T], R], shared: S, runs: Sequence[Sequence[T]]
) -> list[Future[Any]]:
    """Send the shared data to all workers, and have runs of tasks begun."""
    client, name, key = cluster.client, function.__name__, uuid4().hex
    data = client.scatter(shared, broadcast=True, hash=False)
    return [
        client.submit(_called, function, data, run, key=f"{name}-{key}-{k}", pure=False) for k, run in enumerate(runs)
    ]


def _called(function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> list[R]:
    """Call a function for some tasks, on a worker."""
    with one_blas_thread(), np.errstate(over="ignore"):
        return [function(shared, task) for task in tasks]
