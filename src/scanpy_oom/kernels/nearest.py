"""The nearest of many points, kept while candidates come by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["keep_nearest", "marked_among_nearest"]

GROUP = 16
"""Candidates of which the nearest is found first, which takes no branches."""


@nb.njit(nogil=True, cache=True)
def _exchange(distances: NDArray[np.floating], marks: NDArray[np.bool_], a: int, b: int) -> None:
    distances[a], distances[b] = distances[b], distances[a]
    marks[a], marks[b] = marks[b], marks[a]


@nb.njit(nogil=True, cache=True)
def _smallest_first(distances: NDArray[np.floating], marks: NDArray[np.bool_], size: int, k: int) -> None:
    """Move the `k` smallest of the first `size` to the front, the largest of them last (Hoare's selection)."""
    low, high = 0, size - 1
    while low < high:
        pivot = distances[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while distances[i] < pivot:
                i += 1
            while pivot < distances[j]:
                j -= 1
            if i <= j:
                _exchange(distances, marks, i, j)
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


@nb.njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _least(distances: NDArray[np.floating]) -> np.floating:
    least = distances[0]
    for j in range(1, GROUP):
        least = min(least, distances[j])
    return least


@nb.njit(nogil=True, cache=True)
def keep_nearest(
    candidates: NDArray[np.floating],
    marked: NDArray[np.bool_],
    distances: NDArray[np.floating],
    marks: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    bounds: NDArray[np.floating],
    k: int,
) -> None:
    """Keep of each row's candidates those that may be among its `k` nearest.

    Parameters
    ----------
    candidates
        `(n_rows, n)` squared distances; `n` is a multiple of :data:`GROUP`.
    marked
        `(n,)`: which candidates are counted in the end.
    distances, marks
        `(n_rows, room)` what is kept of each row, with room for more than `k`.
    sizes
        `(n_rows,)` how many are.
    bounds
        `(n_rows,)` what the `k`-th nearest is no farther than.
    """
    room = distances.shape[1]
    for i in range(candidates.shape[0]):
        size, bound = sizes[i], bounds[i]
        for start in range(0, candidates.shape[1], GROUP):
            group = candidates[i, start : start + GROUP]
            if _least(group) >= bound:
                continue
            for j in range(GROUP):
                if group[j] < bound:
                    distances[i, size] = group[j]
                    marks[i, size] = marked[start + j]
                    size += 1
                    if size == room:
                        _smallest_first(distances[i], marks[i], size, k)
                        size, bound = k, distances[i, k - 1]
        sizes[i], bounds[i] = size, bound


@nb.njit(nogil=True, cache=True)
def marked_among_nearest(
    distances: NDArray[np.floating],
    marks: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    bounds: NDArray[np.floating],
    k: int,
    out: NDArray[np.int64],
) -> None:
    """Leave with each row its `k` nearest alone, and write how many of them are marked."""
    for i in range(sizes.size):
        if sizes[i] >= k:
            _smallest_first(distances[i], marks[i], sizes[i], k)
            sizes[i] = k
            bounds[i] = min(bounds[i], distances[i, k - 1])
        count = 0
        for j in range(sizes[i]):
            count += marks[i, j]
        out[i] = count
