"""Graphs in CSR arrays: their components, their symmetry, and products with the matrix of transition probabilities.

An edge counts if its weight is at least `least`; the others are passed over, so that no copy without them is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Graph = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.floating]]
    """Offsets of rows, columns, weights."""

__all__ = [
    "PANEL",
    "chebyshev_step",
    "connected_components",
    "degrees",
    "is_symmetric",
    "subtract_from_panel",
    "weighted_panel_sums",
]

PANEL = 8
"""Vectors that are multiplied together: so many numbers in single precision are what processors add at once."""


@nb.njit(nogil=True, cache=True)
def _root(parents: NDArray[np.int32], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]  # so that the way is half as long the next time
        i = parents[i]
    return i


@nb.njit(nogil=True, cache=True)
def is_symmetric(graph: Graph, tolerance: float) -> bool:
    """Return whether each entry above the diagonal differs from its mirror image by no more than a part of it.

    Rows must be in the order of columns, each of these once. They are met in order, so that the mirror image of an
    entry is the next one of its row.
    """
    indptr, indices, weights = graph
    following = indptr[:-1].copy()
    for i in range(len(following)):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            q = following[j]
            if q == indptr[j + 1] or indices[q] != i:
                return False
            if i < j and abs(weights[q] - weights[p]) > tolerance * abs(weights[p]):
                return False
            following[j] += 1
    return True


@nb.njit(nogil=True, cache=True)
def connected_components(graph: Graph, least: float, labels: NDArray[np.int32]) -> int:
    """Write the component of each vertex, and return how many there are.

    Components are numbered by their first vertices, as SciPy numbers them.
    """
    indptr, indices, weights = graph
    n = labels.size
    for i in range(n):
        labels[i] = i
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            if weights[p] >= least:
                a, b = _root(labels, i), _root(labels, indices[p])
                labels[max(a, b)] = min(a, b)  # a component's root is its first vertex
    count = 0
    for i in range(n):
        if labels[i] == i:
            labels[i] = -count - 1  # below all vertices
            count += 1
        else:
            labels[i] = labels[labels[i]]  # its parent is before it, and numbered
    for i in range(n):
        labels[i] = -labels[i] - 1
    return count


@nb.njit(nogil=True, cache=True)
def degrees(graph: Graph, least: float, first: int, last: int, out: NDArray[np.float32]) -> None:
    """Write the sums of weights of some vertices."""
    indptr, _, weights = graph
    for i in range(first, last):
        total = 0.0
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if weights[p] >= least:
                total += weights[p]
        out[i] = total


@nb.njit(nogil=True, cache=True, fastmath={"nnan", "ninf", "nsz", "contract"})
def chebyshev_step(
    graph: Graph,
    least: float,
    rows: NDArray[np.int32],
    vectors: NDArray[np.float32],
    before: NDArray[np.float32],
    coefficients: tuple[float, float, float],
) -> None:
    """Write p * P @ vectors + q * vectors + r * before in the place of `before`, at some vertices.

    Parameters
    ----------
    graph, least
        P are its weights, divided by their sum in each row.
    rows
        The vertices.
    vectors, before
        `(n, PANEL)`.
    coefficients
        p, q and r.
    """
    indptr, indices, weights = graph
    p, q, r = np.float32(coefficients[0]), np.float32(coefficients[1]), np.float32(coefficients[2])
    zero = np.float32(0)
    for k in range(rows.size):
        i = np.uint64(rows[k])
        total = zero
        s0, s1, s2, s3, s4, s5, s6, s7 = (
            zero,
            zero,
            zero,
            zero,
            zero,
            zero,
            zero,
            zero,
        )  # so that they stay in registers
        for e in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            weight = np.float32(weights[e]) if weights[e] >= least else zero
            j = np.uint64(indices[e])
            total += weight
            s0 += weight * vectors[j, 0]
            s1 += weight * vectors[j, 1]
            s2 += weight * vectors[j, 2]
            s3 += weight * vectors[j, 3]
            s4 += weight * vectors[j, 4]
            s5 += weight * vectors[j, 5]
            s6 += weight * vectors[j, 6]
            s7 += weight * vectors[j, 7]
        scale = p / total if total > 0 else zero
        sums = (s0, s1, s2, s3, s4, s5, s6, s7)
        for t in range(PANEL):
            before[i, t] = scale * sums[t] + q * vectors[i, t] + r * before[i, t]


@nb.njit(nogil=True, cache=True)
def weighted_panel_sums(
    weights: NDArray[np.float32], rows: NDArray[np.int32], panel: NDArray[np.float32], out: NDArray[np.float64]
) -> None:
    """Add up vectors at some vertices, each times the weight of its vertex.

    Parameters
    ----------
    weights
        `(n,)`.
    rows
        The vertices.
    panel
        `(n, PANEL)`.
    out
        `(PANEL,)`: sums that these are added to.
    """
    for k in range(rows.size):
        i = np.uint64(rows[k])
        for t in range(PANEL):
            out[t] += np.float64(weights[i]) * panel[i, t]


@nb.njit(nogil=True, cache=True)
def subtract_from_panel(rows: NDArray[np.int32], values: NDArray[np.float64], panel: NDArray[np.float32]) -> None:
    """Take a number off each vector, `(PANEL,)` of them, at some vertices."""
    for k in range(rows.size):
        i = np.uint64(rows[k])
        for t in range(PANEL):
            panel[i, t] = panel[i, t] - values[t]
