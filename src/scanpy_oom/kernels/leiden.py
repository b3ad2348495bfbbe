"""The steps of Leiden's algorithm on graphs in CSR arrays, as Traag, Waltman and van Eck (2019) describe them.

What a vertex gains in a cluster is the weight of its edges to it, less the resolution times the size of the vertex
times that of the cluster: modularity where sizes are sums of weights, the constant Potts model where they are 1.
Graphs are the same in both directions, and weights are positive. An edge from a vertex to itself changes no gain.

Vertices are looked at one after the other, in an order that is drawn: results depend on the seed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

from .layout import COUNT, next_draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .graph import Graph

    Whole = NDArray[np.int32]
    Real = NDArray[np.float64]

__all__ = [
    "cluster_sums",
    "count_merged_edges",
    "members_of_clusters",
    "merge_clusters",
    "move_to_clusters",
    "refine_clusters",
    "renumber_clusters",
    "shuffle_vertices",
]

SLACK = 2.0**-36
"""Part of what is added up by which gains must differ: less is rounding, and vertices would go in circles."""


@nb.njit(nogil=True, cache=True)
def shuffle_vertices(order: Whole, state: np.uint64) -> np.uint64:
    """Bring vertices into an order that is drawn, and return the state of the next draw."""
    for i in range(len(order) - 1, 0, -1):
        state += COUNT
        j = np.int64(((next_draw(state) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]
    return state


@nb.njit(nogil=True, cache=True, inline="always")
def _add_edges(graph: Graph, v: int, within: Whole | None, labels: Whole, weights_to: Real, near: Whole) -> int:
    """Add up the weights from a vertex to each cluster, and return how many clusters that are.

    Edges that leave the vertex's own part of `within` do not count; where it is `None`, all do, and none is asked.
    """
    indptr, indices, weights = graph
    n_near = 0
    for p in range(indptr[v], indptr[v + 1]):
        u = np.uint64(indices[p])
        if u == np.uint64(v):
            continue
        if within is not None and within[u] != within[v]:
            continue
        c = labels[u]
        if weights_to[c] == 0.0:
            near[n_near] = c
            n_near += 1
        weights_to[c] += weights[p]
    return n_near


@nb.njit(nogil=True, cache=True, inline="always")
def _best_of(near: Whole, n_near: int, weights_to: Real, totals: Real, pull: float, own: int) -> int:
    """Return the cluster with the largest gain, its own if no other has more, -1 if all lose; forget the weights."""
    best, held, lost = own, weights_to[own], pull * totals[own]
    for k in range(n_near):
        c = near[k]
        weight, loss = weights_to[c], pull * totals[c]
        if weight - loss - (held - lost) > SLACK * (weight + abs(loss) + held + abs(lost)):
            best, held, lost = c, weight, loss
        weights_to[c] = 0.0
    return -1 if lost - held > SLACK * (held + abs(lost)) else best


@nb.njit(nogil=True, cache=True)
def move_to_clusters(graph: Graph, sizes: Real, resolution: float, labels: Whole, order: Whole) -> int:
    """Move vertices to the clusters where they gain most, until all have been looked at.

    After a vertex has moved, those of its neighbours are looked at again that are in other clusters.

    Parameters
    ----------
    graph
        Offsets of rows, columns, weights.
    sizes
        `(n,)` sizes of vertices, whose sums must be exact: otherwise rounding in sizes of clusters may have
        vertices move for ever.
    resolution
        Factor of sizes.
    labels
        `(n,)` clusters, as numbers below `n`; changed.
    order
        `(n,)` vertices in the order in which they are looked at first.

    Returns
    -------
    How often a vertex moved.
    """
    indptr, indices, _ = graph
    n = len(sizes)
    totals, members = np.zeros(n), np.zeros(n, np.int32)
    for v in range(n):
        totals[labels[v]] += sizes[v]
        members[labels[v]] += 1
    empty, n_empty = np.empty(n, np.int32), 0
    for c in range(n):
        if members[c] == 0:
            empty[n_empty] = c
            n_empty += 1
    queue, waits = order.copy(), np.ones(n, np.bool_)
    first, n_waiting, n_moved = 0, n, 0
    weights_to, near = np.zeros(n), np.empty(n, np.int32)
    while n_waiting:
        v = queue[first]
        first = 0 if first + 1 == n else first + 1
        n_waiting -= 1
        waits[v] = False
        own = labels[v]
        members[own] -= 1
        totals[own] -= sizes[v]
        if members[own] == 0:
            totals[own] = 0.0  # whatever rounding has left
            empty[n_empty] = own
            n_empty += 1
        n_near = _add_edges(graph, v, None, labels, weights_to, near)
        best = _best_of(near, n_near, weights_to, totals, sizes[v] * resolution, own)
        if best < 0:
            best = empty[n_empty - 1]
        n_empty -= members[best] == 0  # it is the last of those that are empty
        members[best] += 1
        totals[best] += sizes[v]
        if best == own:
            continue
        n_moved += 1
        labels[v] = best
        for p in range(indptr[v], indptr[v + 1]):
            u = np.uint64(indices[p])
            if not waits[u] and labels[u] != best:
                last = first + n_waiting
                queue[last - n if last >= n else last] = u
                n_waiting += 1
                waits[u] = True
    return n_moved


@nb.njit(nogil=True, cache=True)
def renumber_clusters(labels: Whole) -> int:
    """Number clusters from 0 in the order of their first vertices, and return how many there are."""
    numbers, n_clusters = np.full(len(labels), -1, np.int32), 0
    for v in range(len(labels)):
        c = labels[v]
        if numbers[c] < 0:
            numbers[c] = n_clusters
            n_clusters += 1
        labels[v] = numbers[c]
    return n_clusters


@nb.njit(nogil=True, cache=True)
def members_of_clusters(labels: Whole, n_clusters: int, order: Whole) -> tuple[NDArray[np.int64], Whole]:
    """Return where each cluster starts among the vertices by cluster, which are in the given order within each."""
    starts = np.zeros(n_clusters + 1, np.int64)
    for v in range(len(labels)):
        starts[labels[v] + 1] += 1
    for c in range(n_clusters):
        starts[c + 1] += starts[c]
    at, members = starts[:-1].copy(), np.empty(len(labels), np.int32)
    for v in order:
        members[at[labels[v]]] = v
        at[labels[v]] += 1
    return starts, members


@nb.njit(nogil=True, cache=True, inline="always")
def _weight_within(graph: Graph, v: int, labels: Whole) -> float:
    """Return the weight of the edges from a vertex to others of its cluster."""
    indptr, indices, weights = graph
    found = 0.0
    for p in range(indptr[v], indptr[v + 1]):
        u = np.uint64(indices[p])
        if u != np.uint64(v) and labels[u] == labels[v]:
            found += weights[p]
    return found


@nb.njit(nogil=True, cache=True, inline="always")
def _draw_part(near: Whole, gains: Real, n_parts: int, own: int, beta: float, state: np.uint64) -> int:
    """Draw one of some parts, or none, whose gain is 0, each as likely as e to the gain over `beta`."""
    most = 0.0
    for k in range(n_parts):
        most = max(most, gains[k])
    total = np.exp(-most / beta)
    for k in range(n_parts):
        total += np.exp((gains[k] - most) / beta)
    drawn = np.float64(next_draw(state) >> np.uint64(11)) * 2.0**-53 * total - np.exp(-most / beta)
    if drawn < 0.0:
        return own
    for k in range(n_parts):
        drawn -= np.exp((gains[k] - most) / beta)
        if drawn < 0.0:
            return near[k]
    return near[n_parts - 1]


@nb.njit(nogil=True, cache=True)
def refine_clusters(
    graph: Graph,
    sizes: Real,
    resolution: float,
    labels: Whole,
    clusters: tuple[NDArray[np.int64], Whole],
    beta: float,
    state: np.uint64,
) -> tuple[Whole, np.uint64]:
    """Part clusters into connected parts: each vertex that is alone still is put into a part where it does not lose.

    Parameters
    ----------
    graph, sizes, resolution
        As in :func:`move_to_clusters`.
    labels
        `(n,)` clusters.
    clusters
        What :func:`members_of_clusters` returns.
    beta
        The larger, the more likely are parts with less than the largest gain.
    state
        State of the draws.

    Returns
    -------
    `(n,)` parts, as numbers of vertices, and the state of the next draw.
    """
    indptr, indices, weights = graph
    starts, members = clusters
    n = len(sizes)
    parts = np.empty(n, np.int32)
    totals, outward, is_alone = sizes.copy(), np.empty(n), np.ones(n, np.bool_)
    for v in range(n):
        parts[v] = v
        outward[v] = _weight_within(graph, v, labels)
    weights_to, near, gains = np.zeros(n), np.empty(n, np.int32), np.empty(n)
    for c in range(len(starts) - 1):
        whole = 0.0
        for v in members[starts[c] : starts[c + 1]]:
            whole += sizes[v]
        for v in members[starts[c] : starts[c + 1]]:
            if not is_alone[v] or outward[v] < resolution * sizes[v] * (whole - sizes[v]):
                continue
            n_near = _add_edges(graph, v, labels, parts, weights_to, near)
            n_parts = 0
            for k in range(n_near):
                part = near[k]
                gain = weights_to[part] - resolution * sizes[v] * totals[part]
                weights_to[part] = 0.0
                is_connected = outward[part] >= resolution * totals[part] * (whole - totals[part])
                if gain >= 0.0 and is_connected:
                    near[n_parts], gains[n_parts] = part, gain
                    n_parts += 1
            if n_parts == 0:
                continue
            state += COUNT
            chosen = _draw_part(near, gains, n_parts, v, beta, state)
            if chosen == v:
                continue
            parts[v] = chosen
            totals[chosen] += sizes[v]
            is_alone[v] = is_alone[chosen] = False
            for p in range(indptr[v], indptr[v + 1]):
                u = np.uint64(indices[p])
                if u != np.uint64(v) and labels[u] == c:
                    outward[chosen] += -weights[p] if parts[u] == chosen else weights[p]
    return parts, state


@nb.njit(nogil=True, cache=True)
def count_merged_edges(graph: Graph, labels: Whole, clusters: tuple[NDArray[np.int64], Whole]) -> NDArray[np.int64]:
    """Return the offsets of rows in the graph whose vertices are clusters."""
    indptr, indices, _ = graph
    starts, members = clusters
    n_clusters = len(starts) - 1
    seen, offsets = np.full(n_clusters, -1, np.int32), np.zeros(n_clusters + 1, np.int64)
    for c in range(n_clusters):
        n_edges = 0
        for v in members[starts[c] : starts[c + 1]]:
            for p in range(indptr[v], indptr[v + 1]):
                d = labels[np.uint64(indices[p])]
                n_edges += seen[d] != c
                seen[d] = c
        offsets[c + 1] = offsets[c] + n_edges
    return offsets


@nb.njit(nogil=True, cache=True)
def merge_clusters(
    graph: Graph,
    sizes: Real,
    labels: Whole,
    clusters: tuple[NDArray[np.int64], Whole],
    offsets: NDArray[np.int64],
) -> tuple[Whole, Real, Real]:
    """Make a graph whose vertices are clusters.

    Returns
    -------
    Columns and weights, as many as :func:`count_merged_edges` has counted, and the sizes of the clusters.
    """
    indptr, indices, weights = graph
    starts, members = clusters
    n_clusters = len(starts) - 1
    columns, sums, totals = np.empty(offsets[-1], np.int32), np.zeros(offsets[-1]), np.zeros(n_clusters)
    at = np.full(n_clusters, -1, np.int64)
    for c in range(n_clusters):
        last = offsets[c]
        for v in members[starts[c] : starts[c + 1]]:
            totals[c] += sizes[v]
            for p in range(indptr[v], indptr[v + 1]):
                d = labels[np.uint64(indices[p])]
                if at[d] < offsets[c]:
                    at[d] = last
                    columns[last] = d
                    last += 1
                sums[at[d]] += weights[p]
    return columns, sums, totals


@nb.njit(nogil=True, cache=True)
def cluster_sums(graph: Graph, labels: Whole, n_clusters: int) -> tuple[Real, float]:
    """Return the sum of all weights at each cluster's vertices, and of those of edges within clusters."""
    indptr, indices, weights = graph
    totals, within = np.zeros(n_clusters), 0.0
    for v in range(len(labels)):
        for p in range(indptr[v], indptr[v + 1]):
            totals[labels[v]] += weights[p]
            if labels[np.uint64(indices[p])] == labels[v]:
                within += weights[p]
    return totals, within
