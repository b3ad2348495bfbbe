"""Weights of the edges of a graph of neighbours, and the graph made symmetric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "count_symmetric",
    "fill_symmetric",
    "gauss_weights",
    "incoming_edges",
    "median_squares",
    "sort_neighbors",
    "umap_weights",
]

TURNS, CLOSE_ENOUGH, LEAST_PART = 64, 1e-5, 1e-3
"""Steps of the search for a bandwidth, the error at which it ends, and the bandwidth at least, by the mean distance:
those of umap-learn."""


@nb.njit(nogil=True, cache=True)
def _bandwidth(distances: NDArray[np.float32], nearest: np.float32, target: float) -> float:
    """Return what distances are divided by so that the weights of a row add up to a target, by bisection."""
    low, high, middle = 0.0, np.inf, 1.0
    for _ in range(TURNS):
        total = 0.0
        for j in range(distances.size):
            beyond = distances[j] - nearest
            total += np.exp(-(beyond / middle)) if beyond > 0 else 1.0
        if abs(total - target) < CLOSE_ENOUGH:
            break
        if total > target:
            high = middle
            middle = (low + high) / 2.0
        else:
            low = middle
            middle = middle * 2.0 if high == np.inf else (low + high) / 2.0
    return middle


@nb.njit(nogil=True, cache=True)
def umap_weights(
    distances: NDArray[np.floating], target: float, mean: float, first: int, last: int, out: NDArray[np.float32]
) -> None:
    """Write the strengths with which points belong to the fuzzy sets around each, as umap-learn computes them.

    Parameters
    ----------
    distances
        `(n, k)`: those of the neighbours of each point, closest first, without the point itself.
    target
        Sum of the strengths of a point.
    mean
        Mean of all distances, those of points from themselves among them.
    first, last
        Points of which they are written.
    out
        `(n, k)`.
    """
    k = distances.shape[1]
    row = np.empty(k, dtype=np.float32)
    for i in range(first, last):
        total = 0.0
        nearest = np.float32(0)
        for j in range(k):
            row[j] = distances[i, j]
            total += row[j]
            if nearest == 0 and row[j] > 0:
                nearest = row[j]
        bandwidth = np.float32(_bandwidth(row, nearest, target))
        least = LEAST_PART * (total / (k + 1) if nearest > 0 else mean)
        bandwidth = np.float32(max(np.float64(bandwidth), least))
        for j in range(k):
            beyond = row[j] - nearest
            # single precision throughout, as in umap-learn
            out[i, j] = np.float32(1) if beyond <= 0 or bandwidth == 0 else np.exp(-(beyond / bandwidth))


@nb.njit(nogil=True, cache=True)
def median_squares(distances: NDArray[np.floating], first: int, last: int, out: NDArray[np.float64]) -> None:
    """Write the median of the squared distances of the neighbours of each point."""
    k = distances.shape[1]
    row = np.empty(k)
    for i in range(first, last):
        for j in range(k):
            row[j] = np.float64(distances[i, j]) * distances[i, j]
        row.sort()
        out[i] = (row[(k - 1) // 2] + row[k // 2]) / 2.0


@nb.njit(nogil=True, cache=True, error_model="numpy")
def gauss_weights(
    distances: NDArray[np.floating],
    indices: NDArray[np.int32],
    medians: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.floating],
) -> None:
    """Write the weights of a Gaussian kernel whose width is that of both ends of an edge, as scanpy computes them.

    Parameters
    ----------
    distances, indices
        `(n, k)`: neighbours of each point, without the point itself.
    medians
        `(n,)` squared widths.
    first, last
        Points of which they are written.
    out
        `(n, k)`.
    """
    for i in range(first, last):
        for j in range(distances.shape[1]):
            other = medians[indices[i, j]]
            total = medians[i] + other
            square = np.float64(distances[i, j]) * distances[i, j]
            product = 2.0 * np.sqrt(medians[i]) * np.sqrt(other)
            out[i, j] = np.sqrt(product / total) * np.exp(-square / total)


@nb.njit(nogil=True, cache=True)
def sort_neighbors(indices: NDArray[np.int32], weights: NDArray[np.floating], first: int, last: int) -> None:
    """Put the neighbours of points in the order of their numbers, in place."""
    for i in range(first, last):
        for j in range(1, indices.shape[1]):
            index, weight = indices[i, j], weights[i, j]
            place = j
            while place > 0 and indices[i, place - 1] > index:
                indices[i, place] = indices[i, place - 1]
                weights[i, place] = weights[i, place - 1]
                place -= 1
            indices[i, place] = index
            weights[i, place] = weight


@nb.njit(nogil=True, cache=True)
def incoming_edges(indices: NDArray[np.int32], starts: NDArray[np.int64], edges: NDArray[np.integer]) -> None:
    """Write which edges lead to each point, by their place in the table, in its order.

    Parameters
    ----------
    indices
        `(n, k)`.
    starts
        `(n + 1,)` zeros: where those of each point begin.
    edges
        `(n * k,)`.
    """
    n, k = indices.shape
    for i in range(n):
        for j in range(k):
            starts[indices[i, j] + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    for i in range(n):
        for j in range(k):
            to = indices[i, j]
            edges[starts[to]] = i * k + j
            starts[to] += 1
    for i in range(n, 0, -1):
        starts[i] = starts[i - 1]
    starts[0] = 0


@nb.njit(nogil=True, cache=True, inline="always")
def _joined(own: np.floating, other: np.floating, has_own: bool, fuzzy: bool) -> np.floating:  # noqa: FBT001
    """Return the weight of an edge that leads both ways: that of a union of fuzzy sets, or its own if it has one."""
    if fuzzy:
        return (own + other) - own * other
    return own if has_own else other


@nb.njit(nogil=True, cache=True)
def count_symmetric(
    indices: NDArray[np.int32],
    weights: NDArray[np.floating],
    starts: NDArray[np.int64],
    edges: NDArray[np.integer],
    fuzzy: bool,  # noqa: FBT001
    first: int,
    last: int,
    counts: NDArray[np.int64],
) -> None:
    """Write how many entries each row of the symmetric graph has; see :func:`fill_symmetric`."""
    k = indices.shape[1]
    flat = weights.ravel()
    zero = weights.dtype.type(0)
    for i in range(first, last):
        j, e, end, count = 0, starts[i], starts[i + 1], 0
        while j < k or e < end:
            own_at = np.int64(indices[i, j]) if j < k else np.int64(2**62)
            other_at = np.int64(edges[e]) // k if e < end else np.int64(2**62)
            has_own, has_other = bool(own_at <= other_at), bool(other_at <= own_at)
            own = weights[i, j] if has_own else zero
            other = flat[edges[e]] if has_other else zero
            if _joined(own, other, has_own, fuzzy) != 0 or (has_own and not fuzzy):
                count += 1
            j += 1 if has_own else 0
            e += 1 if has_other else 0
        counts[i] = count


@nb.njit(nogil=True, cache=True)
def fill_symmetric(  # noqa: PLR0913
    indices: NDArray[np.int32],
    weights: NDArray[np.floating],
    starts: NDArray[np.int64],
    edges: NDArray[np.integer],
    fuzzy: bool,  # noqa: FBT001
    first: int,
    last: int,
    indptr: NDArray[np.integer],
    columns: NDArray[np.int32],
    data: NDArray[np.floating],
) -> None:
    """Write rows of the symmetric graph: edges out of a point and those that lead to it, by number.

    Parameters
    ----------
    indices, weights
        `(n, k)`: edges out of each point, in the order of their numbers.
    starts, edges
        What :func:`incoming_edges` wrote.
    fuzzy
        Whether edges both ways are a union of fuzzy sets, and vanish where they weigh nothing. Otherwise those out of
        a point are as they are, and others take their weight from the other end.
    first, last
        Rows that are written.
    indptr, columns, data
        Compressed rows.
    """
    k = indices.shape[1]
    flat = weights.ravel()
    zero = weights.dtype.type(0)
    for i in range(first, last):
        j, e, end, at = 0, starts[i], starts[i + 1], indptr[i]
        while j < k or e < end:
            own_at = np.int64(indices[i, j]) if j < k else np.int64(2**62)
            other_at = np.int64(edges[e]) // k if e < end else np.int64(2**62)
            has_own, has_other = bool(own_at <= other_at), bool(other_at <= own_at)
            own = weights[i, j] if has_own else zero
            other = flat[edges[e]] if has_other else zero
            joined = _joined(own, other, has_own, fuzzy)
            if joined != 0 or (has_own and not fuzzy):
                columns[at] = min(own_at, other_at)
                data[at] = joined
                at += 1
            j += 1 if has_own else 0
            e += 1 if has_other else 0
