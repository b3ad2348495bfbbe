"""Marked points among the nearest neighbours of each: no graph is ever held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ..engine.runtime.blas import one_blas_thread
from ..engine.runtime.progress import announce_compilation
from ..kernels import keep_nearest, marked_among_nearest
from ..kernels.nearest import GROUP
from ..settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["count_marked_neighbors"]

QUERIES = 256
"""Points whose neighbours are found at a time."""

TILE = 2048
"""Candidates whose distances from them are held at a time."""

PER_CELL = 400
"""Points of a cell, about, within which points are close to each other."""

SLACK = 1e-3
"""Part of a distance by which single precision may be wrong, and far more: what is farther is not looked at."""


class _Cells:
    """Points in the order of cells, each around a centre, so that most candidates are known to be too far.

    Parameters
    ----------
    points
        `(n, d)`.
    """

    def __init__(self, points: NDArray[np.floating]) -> None:
        n_cells = max(1, points.shape[0] // PER_CELL)
        # which points become centres changes what is looked at, and nothing that is found
        chosen = np.random.RandomState(0).permutation(points.shape[0])[:n_cells]
        centers = points[chosen]
        for _ in range(3):
            cell = _nearest_center(points, centers)
            sizes = np.bincount(cell, minlength=n_cells)
            sums = np.stack([np.bincount(cell, column, n_cells) for column in points.T], axis=1)
            centers = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers).astype(points.dtype)
        cell = _nearest_center(points, centers)
        self.order = np.argsort(cell, kind="stable")
        self.points = np.ascontiguousarray(points[self.order])
        self.centers = centers
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=n_cells))])
        from_center = np.linalg.norm(self.points - centers[cell[self.order]], axis=1)
        self.radii = np.array(
            [from_center[a:b].max(initial=0) for a, b in zip(self.starts, self.starts[1:], strict=False)]
        )
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def queries(self) -> Iterator[tuple[int, int]]:
        """Yield runs of points of one cell."""
        for a, b in zip(self.starts, self.starts[1:], strict=False):
            yield from ((int(start), int(min(start + QUERIES, b))) for start in range(a, b, QUERIES))

    def from_centers(self, first: int, last: int) -> NDArray[np.float64]:
        """Return distances of points from all centres, `(n_points, n_cells)`."""
        return np.sqrt(_squared(self.points[first:last].astype(np.float64), self.centers.astype(np.float64)))


def _squared(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2 * (a @ b.T)
    return np.maximum(squares, 0)


def _nearest_center(points: NDArray[np.floating], centers: NDArray[np.floating]) -> NDArray[np.intp]:
    parts = [_squared(points[a : a + TILE], centers).argmin(axis=1) for a in range(0, points.shape[0], TILE)]
    return np.concatenate(parts)


class _Search:
    """Finds the nearest of all points for runs of them."""

    def __init__(self, points: NDArray[np.floating], marked: NDArray[np.bool_], k: int) -> None:
        self._cells = _Cells(points - points.mean(axis=0))
        self._marked = marked[self._cells.order]
        self._k = k
        self.found = np.empty(points.shape[0], dtype=np.int64)

    def run(self, queries: tuple[int, int]) -> None:
        """Count for the points of one run."""
        first, last = queries
        n, k = last - first, self._k
        dtype = self._cells.points.dtype
        distances = np.empty((n, 2 * k + 64), dtype=dtype)
        marks = np.empty(distances.shape, dtype=bool)
        sizes, bounds = np.zeros(n, dtype=np.int64), np.full(n, np.inf, dtype=dtype)
        counts = np.empty(n, dtype=np.int64)
        # no point of a cell is nearer than its centre less its radius
        nearest = self._cells.from_centers(first, last) - self._cells.radii
        by_distance = np.argsort(nearest.min(axis=0), kind="stable")
        for tile in self._tiles(by_distance):
            cells, where = tile
            reach = np.sqrt(np.maximum(bounds, 0)) * (1 + SLACK)
            if (nearest[:, cells] > reach[:, None]).all():
                continue
            candidates = self._distances(first, last, where)
            keep_nearest(candidates, self._padded(where), distances, marks, sizes, bounds, k)
            marked_among_nearest(distances, marks, sizes, bounds, k, counts)
        self.found[self._cells.order[first:last]] = counts

    def _tiles(self, cells: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield cells that together have about as many points as a tile, and these points."""
        starts = self._cells.starts
        sizes = np.diff(starts)[cells]
        groups = np.cumsum(sizes) // TILE
        for group in np.split(cells, np.flatnonzero(np.diff(groups)) + 1):
            yield group, np.concatenate([np.arange(starts[c], starts[c + 1]) for c in group])

    def _distances(self, first: int, last: int, where: NDArray[np.intp]) -> NDArray[np.floating]:
        """Return squared distances of points from others; each is nearest to itself."""
        points, squares = self._cells.points, self._cells.squares
        out = np.full((last - first, -(-where.size // GROUP) * GROUP), np.inf, dtype=points.dtype)
        near = out[:, : where.size]
        np.matmul(points[first:last], (-2 * points[where]).T, out=near)
        near += squares[where]
        near += squares[first:last, None]
        own = np.flatnonzero((where >= first) & (where < last))
        near[where[own] - first, own] = -np.inf
        return out

    def _padded(self, where: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.append(self._marked[where], np.zeros(-where.size % GROUP, dtype=bool))

    def queries(self) -> Iterator[tuple[int, int]]:
        """Yield the runs."""
        return self._cells.queries()


def count_marked_neighbors(points: NDArray[np.floating], marked: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """Count the marked ones among the `k` points nearest to each, itself the first of them.

    Distances are Euclidean, in the precision of the points. All pairs of points are compared but those of which it is
    known, from where they lie in cells of points, that they are too far from each other.

    Parameters
    ----------
    points
        `(n, d)`.
    marked
        `(n,)`.
    k
        At most `n`.
    """
    with one_blas_thread(), announce_compilation():
        search = _Search(points, marked, k)
        with ThreadPoolExecutor(settings.n_threads) as pool:
            for _ in pool.map(search.run, search.queries()):
                pass
    return search.found
