"""The closest candidates of a block of points: products of matrices bound distances, and a kernel measures the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..engine.runtime.blas import one_blas_thread
from ..engine.runtime.progress import announce_compilation
from ..engine.runtime.threads import in_threads
from ..kernels import keep_closest, nearby
from ..kernels.closest import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["QUERIES", "TILE", "ClosestSoFar", "in_quiet_threads", "workspace_nbytes"]

QUERIES = 512
"""Points whose closest are found at a time."""

TILE = 1024
"""Candidates whose bounds are held at a time."""

FAR = np.float32(3e38)
"""Bound of what is no candidate."""

T = TypeVar("T")
R = TypeVar("R")


def slack_of(n_coordinates: int) -> float:
    """Return the part of the squared lengths of two points that single precision may be wrong by in their distance.

    The product is wrong by no more than its number of terms, times the rounding unit, times half the sum of the squared
    lengths; rounding points and lengths adds a few units. This is four times that.
    """
    return 4 * (n_coordinates + 16) * 2.0**-24


def workspace_nbytes(n_coordinates: int, k: int) -> int:
    """Return the bytes that a block of points takes in one thread."""
    row = 4 * (n_coordinates + 1)
    return QUERIES * (12 * k + 3 * row + 8 * n_coordinates) + TILE * (4 * QUERIES + 2 * row)


class ClosestSoFar:
    """The closest candidates of each of some points, among those that came by.

    They are those of smallest distance, as summed up in double precision, and of equal ones those of lower number.
    Neither the order in which candidates come, nor what a product of matrices is rounded to, changes the result.

    Parameters
    ----------
    points
        `(n, d)`.
    own
        `(n,)`: candidate that is the point itself; -1 for none.
    k
        Number of candidates that are kept of each.
    scale
        Number that makes all coordinates, of candidates too, at most about one.

    Attributes
    ----------
    squares, found
        `(n, k)` squared distances, -1 of the point itself, and numbers of candidates.
    """

    def __init__(self, points: NDArray[np.floating], own: NDArray[np.int32], k: int, scale: float) -> None:
        n, d = points.shape
        self._points, self._own, self._scale = points, own, scale
        self._slack = slack_of(d)
        self._center = points.mean(axis=0, dtype=np.float64)
        self._near = np.ones((n, d + 1), dtype=np.float32)
        self._lows = np.empty(n, dtype=np.float32)
        nearby(points, self._center, scale, self._slack, -2.0, self._near[:, :d], self._lows)
        self._bounds = np.empty(n * TILE, dtype=np.float32)
        self._tile = np.zeros((TILE, d + 1), dtype=np.float32)
        self._tile_lows = np.empty(TILE, dtype=np.float32)
        self.squares = np.full((n, k), np.inf)
        self.found = np.full((n, k), -1, dtype=np.int32)

    def look_at(
        self,
        candidates: NDArray[np.floating],
        names: NDArray[np.int32],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Look at candidates.

        Parameters
        ----------
        candidates
            `(n, d)`.
        names
            `(n,)` their numbers, increasing.
        rows
            Points that they are candidates of; all of them if not given.
        """
        rows = np.arange(len(self._points)) if rows is None else rows
        for start in range(0, len(candidates), TILE):
            some = candidates[start : start + TILE]
            those = names[start : start + TILE]
            # a point that has its fill of duplicates takes no more but itself and those of lower numbers
            own = self._own[rows]
            is_open = (self.squares[rows, -1] > 0) | (self.found[rows, -1] > those[0])
            is_open |= (own >= those[0]) & (own <= those[-1])
            here = rows if is_open.all() else rows[is_open]
            if here.size:
                keep_closest(
                    self._bound(some, here),
                    here,
                    self._lows,
                    self._scale,
                    self._points,
                    self._own,
                    some,
                    those,
                    self.squares,
                    self.found,
                )

    def _bound(self, candidates: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        n, d = candidates.shape
        padded = -(-n // GROUP) * GROUP
        tile = self._tile[:padded]
        nearby(candidates, self._center, self._scale, self._slack, 1.0, tile[:n, :d], self._tile_lows)
        tile[:n, d] = self._tile_lows[:n]
        tile[n:, :d], tile[n:, d] = 0, FAR
        near = self._near if rows.size == len(self._near) else self._near[rows]
        return np.matmul(near, tile.T, out=self._bounds[: rows.size * padded].reshape(rows.size, padded))


def in_quiet_threads(work: Callable[[T], R], tasks: Sequence[T], *, alone: bool = False) -> list[R]:
    """Return what some work gives for each task, in order, while BLAS stays within the thread that calls it.

    Parameters
    ----------
    work, tasks
        As in :func:`~scanpy_oom.engine.runtime.threads.in_threads`.
    alone
        Whether the thread that calls is to do it.
    """

    def quietly(task: T) -> R:
        with np.errstate(over="ignore"):  # which holds for one thread
            return work(task)

    with one_blas_thread(), announce_compilation():
        return [quietly(task) for task in tasks] if alone else in_threads(quietly, tasks)
