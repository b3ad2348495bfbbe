"""Clusters by igraph's Leiden: of one resolution, and of several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import messages
from ..memory.ledger import ACCOUNTANT
from ..memory.malloc_trim import return_freed_memory
from ..settings import format_bytes, settings
from .draws import drawing_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import igraph
    from numpy.typing import NDArray

    from .graph import HalfGraph

__all__ = ["Clusters", "Search", "clusters_of", "search"]


@dataclass(frozen=True)
class Clusters:
    """What was found.

    Parameters
    ----------
    labels
        The cluster of each vertex, from 0.
    modularity
        As igraph computes it.
    """

    labels: NDArray[np.int32]
    modularity: float


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Parameters
    ----------
    resolution
        The higher, the more clusters there are. `None` is the default of igraph.
    n_iterations
        How often the clusters are improved; until they stay if it is negative.
    source
        Where random numbers come from.
    options
        Other arguments of :meth:`igraph.Graph.community_leiden`.
    weighs_modularity
        Whether the modularity that is told is of weights and resolution, as igraph's, or of neither, as leidenalg's.
    """

    resolution: float | None
    n_iterations: int
    source: np.random.RandomState | np.random.Generator
    options: Mapping[str, Any] = field(default_factory=dict)
    weighs_modularity: bool = True


def search(graph: igraph.Graph, weights: NDArray[Any], wanted: Search) -> Clusters:
    """Find the clusters of a graph."""
    arguments = {"objective_function": "modularity", "n_iterations": wanted.n_iterations, **wanted.options}
    if wanted.resolution is not None:
        arguments["resolution"] = wanted.resolution
    with drawing_from(wanted.source):
        found = graph.community_leiden(weights=weights, **arguments)
    modularity = found.modularity if wanted.weighs_modularity else graph.modularity(found.membership)
    return Clusters(np.array(found.membership, dtype=np.int32), modularity)


def clusters_of(half: HalfGraph, searches: Sequence[Search]) -> Iterator[Clusters]:
    """Yield what each search finds, one after the other, in a graph that is built once."""
    if half.nbytes > settings.memory_limit:
        nbytes, limit = format_bytes(half.nbytes), format_bytes(settings.memory_limit)
        messages.warning(
            f"igraph takes some {nbytes} for {half.n_edges:,} edges, more than the limit of {limit}: it cannot look "
            "for clusters in parts."
        )
    with ACCOUNTANT.reserve(workspace=half.nbytes):
        graph, weights = half.build(), half.weights()
        return_freed_memory()
        for wanted in searches:
            yield search(graph, weights, wanted)
        del graph, weights
        return_freed_memory()
