"""The executor of a cluster: passes that workers can make are made there, others in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from ...settings import settings
from ..abc import Distribution, Executor
from ..cache.columns import FEW
from ..columnwise import goes_by_columns
from ..executor import LocalExecutor
from .client import cluster_of
from .cluster_pass import ClusterPass
from .exchange import shared_folder
from .payload import packed, uses_values_of_client
from .spread import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..request import Request, Results, Step
    from .client import Cluster

    S = TypeVar("S")
    T = TypeVar("T")
    R = TypeVar("R")

__all__ = ["ClusterExecutor", "executor_of", "reason_for_here"]


def executor_of(engine: object) -> ClusterExecutor | None:
    """Return what makes passes on an engine of Dask: a client, an address, or ``"dask"``; None if it is no such."""
    cluster = cluster_of(engine)
    return None if cluster is None else ClusterExecutor(cluster)


def reason_for_here(requests: Sequence[Request]) -> str:
    """Return why a pass is made in this process, as a phrase; nothing if workers can make it."""
    lead = requests[0].matrix
    if 0 in lead.shape:
        return "a matrix without values"
    if settings.device != "cpu":
        return "the device of the settings"
    if lead.transposed_of is not None:
        return "a transposed matrix"
    if uses_values_of_client(lead.source):
        return "values that are in memory or scratch space of this process"
    if lead.source.format == "csc" or goes_by_columns(requests):
        return "a matrix that is stored by columns"
    here = {reduction.only_here for request in requests for reduction in request.reductions} - {""}
    if here:
        return min(here)
    columns = lead.selection.columns
    if columns is not None and columns.size <= min(FEW, lead.source.shape[1] // 2):
        return "few columns"
    return ""


class ClusterExecutor(Executor):
    """Makes passes on the workers of a Dask client; those that they cannot make, in this process.

    Parameters
    ----------
    cluster
        The workers.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def run(self, step: Step) -> Results:
        """Make a pass."""
        step = _in_parts(step)
        requests = step.requests
        content = _content(requests)
        if isinstance(content, str):
            return LocalExecutor(content).run(step)
        requests[0].matrix.source.check_open()
        if not any(reduction.exchanges for request in requests for reduction in request.reductions):
            return ClusterPass(self.cluster, step, content).results()
        with shared_folder(self.cluster.client) as folder:
            if folder is not None:
                return ClusterPass(self.cluster, step, content, folder).results()
        return LocalExecutor("scratch space that workers do not share").run(step)

    def spread(self, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[R]:
        """Have a function called on the workers."""
        return spread(self.cluster, function, shared, tasks)

    def distribution(self, step: Step) -> Distribution:
        """Return how a pass would be made; what it has found before it runs, as totals of rows, is not known yet."""
        content = _content(step.requests)
        if isinstance(content, str):
            return Distribution("", why_here=content)
        return ClusterPass(self.cluster, step, content).distribution()


def _in_parts(step: Step) -> Step:
    """Return a step with reductions in parts in the place of those that must be made here, if nothing else must."""
    bare = [replace(request, reductions=()) for request in step.requests]
    if not any(one.only_here for request in step.requests for one in request.reductions) or reason_for_here(bare):
        return step
    requests = [
        replace(
            request,
            reductions=[one.in_parts(request.matrix) or one if one.only_here else one for one in request.reductions],
        )
        for request in step.requests
    ]
    return replace(step, requests=requests)


def _content(requests: Sequence[Request]) -> tuple[bytes, dict[str, bytes]] | str:
    """Return what is sent to workers, or why they cannot make a pass."""
    try:
        return reason_for_here(requests) or packed(requests)
    except Exception as error:  # noqa: BLE001 - whatever the parts of a reduction raise
        return f"what cannot be sent ({error})"
