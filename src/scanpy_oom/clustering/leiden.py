"""Leiden's algorithm: clusters whose vertices gain nothing by moving, and whose parts hang together.

Traag, Waltman and van Eck, From Louvain to Leiden: guaranteeing well-connected communities, Scientific Reports 2019.
igraph's takes some 60 bytes an edge, and holds Python's lock. This one takes the arrays of the matrix as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Literal

import numpy as np

from .. import messages
from ..engine.runtime.progress import announce_compilation
from ..engine.runtime.threads import in_threads
from ..kernels import (
    cluster_sums,
    count_merged_edges,
    members_of_clusters,
    merge_clusters,
    move_to_clusters,
    refine_clusters,
    renumber_clusters,
    shuffle_vertices,
)
from ..memory.ledger import ACCOUNTANT
from ..memory.malloc_trim import return_freed_memory
from ..settings import format_bytes, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .graph import ClusterGraph

__all__ = ["Clusters", "Search", "find_clusters", "modularity"]


@dataclass(frozen=True)
class Clusters:
    """What was found.

    Parameters
    ----------
    labels
        `(n,)` cluster of each vertex, from 0 in the order of their first vertices.
    modularity
        Of weights, and at the resolution, as igraph computes it.
    """

    labels: NDArray[np.int32]
    modularity: float


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Parameters
    ----------
    resolution
        The higher, the more clusters there are.
    n_iterations
        How often the clusters are improved; until they stay if it is negative.
    seed
        64 bits from which random numbers follow.
    objective
        What is to be large: ``"modularity"``, or ``"CPM"``, the constant Potts model.
    beta
        The larger, the less the parts of a cluster that gain most are preferred.
    start
        `(n,)` clusters to start from, as any numbers from 0 to `n - 1`; each vertex by itself if not given.
    sizes
        `(n,)` sizes of vertices; by default the sums of their weights for modularity, and 1 for the Potts model.
    """

    resolution: float
    n_iterations: int
    seed: int
    objective: Literal["modularity", "CPM"] = "modularity"
    beta: float = 0.01
    start: NDArray[np.integer] | None = None
    sizes: NDArray[np.floating] | None = None


def find_clusters(graph: ClusterGraph, searches: Sequence[Search]) -> list[Clusters]:
    """Return what each search finds in a graph, with as many at one time as threads and memory allow.

    Results do not depend on either.
    """
    nbytes = graph.nbytes_of_search
    if nbytes > settings.memory_limit:
        messages.warning(
            f"Leiden takes about {format_bytes(nbytes)} for {len(graph.indices):,} connectivities, more than the limit "
            f"of {format_bytes(settings.memory_limit)}. It goes on, since it cannot work in parts."
        )
    fits = max(ACCOUNTANT.available() // nbytes, 1)
    n_threads = int(min(settings.n_threads, len(searches), fits))
    with ACCOUNTANT.reserve(workspace=n_threads * nbytes), announce_compilation():
        stop = Event()
        found = in_threads(lambda wanted: _find(graph, wanted, stop), searches, n_threads=n_threads, stop=stop)
    return_freed_memory()
    return found


def modularity(graph: ClusterGraph, labels: NDArray[np.int32], resolution: float = 1.0) -> float:
    """Return the modularity of clusters: the share of weights within them, less what is expected by chance."""
    n_clusters = int(labels.max()) + 1
    # in a thread, as any kernel that returns arrays
    ((totals, within),) = in_threads(lambda n: cluster_sums(graph.arrays, labels, n), [n_clusters])
    whole = totals.sum()
    return float(within / whole - resolution * np.sum((totals / whole) ** 2))


def _find(graph: ClusterGraph, wanted: Search, stop: Event) -> Clusters:
    """Look for clusters, until others that look in the same graph have failed."""
    n = graph.n_vertices
    if wanted.sizes is not None:
        sizes = np.asarray(wanted.sizes, dtype=np.float64)
    elif wanted.objective == "CPM":
        sizes = np.ones(n)
    else:
        sizes = cluster_sums(graph.arrays, np.arange(n, dtype=np.int32), n)[0]
    sizes = _with_exact_sums(sizes)
    resolution = wanted.resolution / (sizes.sum() if wanted.objective == "modularity" else 1)
    if wanted.objective == "CPM" or wanted.sizes is not None:  # sums of weights are divided by it already
        resolution /= graph.factor
    labels = np.arange(n, dtype=np.int32) if wanted.start is None else np.array(wanted.start, dtype=np.int32)
    improvement = _Improvement(graph, sizes, resolution, wanted.beta / graph.factor, np.uint64(wanted.seed), stop)
    n_done = 0
    while n_done != wanted.n_iterations:
        labels, n_moved = improvement.of(labels)
        n_done += 1
        if wanted.n_iterations < 0 and not n_moved:
            break
    renumber_clusters(labels)
    return Clusters(labels, modularity(graph, labels, wanted.resolution))


def _with_exact_sums(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round sizes to multiples of one number, so that they can be added and taken away without any rounding."""
    unit = 2.0 ** (np.ceil(np.log2(sizes.sum())) - 52)
    return np.round(sizes / unit) * unit


@dataclass
class _Improvement:
    """One iteration after the other, each with other random numbers."""

    graph: ClusterGraph
    sizes: NDArray[np.float64]
    resolution: float
    beta: float
    state: np.uint64
    stop: Event

    def of(self, labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
        """Improve clusters, level by level: vertices of a level are the parts of clusters of the level below.

        Returns
        -------
        The clusters, and how often a vertex moved.
        """
        arrays, sizes, clusters = self.graph.arrays, self.sizes, labels.copy()
        vertex: NDArray[np.int32] | None = None  # of this level, for each cell
        n_moved = 0
        while not self.stop.is_set():
            order = np.arange(len(sizes), dtype=np.int32)
            self.state = np.uint64(shuffle_vertices(order, self.state))
            n_moved += move_to_clusters(arrays, sizes, self.resolution, clusters, order)
            n_clusters = renumber_clusters(clusters)
            if n_clusters == len(sizes):
                return (clusters if vertex is None else clusters[vertex]), n_moved
            parts, n_parts = self._parts(arrays, sizes, clusters, n_clusters, order)
            members = members_of_clusters(parts, n_parts, order)
            offsets = count_merged_edges(arrays, parts, members)
            columns, weights, sizes = merge_clusters(arrays, sizes, parts, members, offsets)
            arrays = offsets, columns, weights
            merged = np.empty(n_parts, np.int32)
            merged[parts] = clusters
            clusters = merged
            vertex = parts if vertex is None else parts[vertex]
        return labels, 0

    def _parts(
        self,
        arrays: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.floating]],
        sizes: NDArray[np.float64],
        clusters: NDArray[np.int32],
        n_clusters: int,
        order: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], int]:
        """Return the parts of clusters, and how many there are; where each vertex is one, the clusters."""
        members = members_of_clusters(clusters, n_clusters, order)
        parts, state = refine_clusters(arrays, sizes, self.resolution, clusters, members, self.beta, self.state)
        self.state = np.uint64(state)
        n_parts = renumber_clusters(parts)
        return (clusters.copy(), n_clusters) if n_parts == len(sizes) else (parts, n_parts)
