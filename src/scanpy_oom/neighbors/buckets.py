"""Points in buckets, each around a centre: points that are close to each other are in few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels import distances_to
from .points import scale_of
from .search import QUERIES, ClosestSoFar, in_quiet_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .points import Rows

__all__ = ["Buckets", "in_buckets", "one_bucket", "ranks_of_buckets"]

PER_BUCKET = 700
"""Points of a bucket, about."""

PER_CENTER = 64
"""Points that each centre is trained on, about."""

TURNS = 8
"""Times that centres are moved to the middle of their points."""


class Buckets(NamedTuple):
    """Points in the order of buckets.

    Attributes
    ----------
    points
        `(n, d)`.
    names
        `(n,)`: the row that each point comes from; they increase within a bucket.
    starts
        `(n_buckets + 1,)`: where buckets begin.
    centers
        `(n_buckets, d)`.
    scale
        Number that makes coordinates at most about one.
    """

    points: NDArray[np.floating]
    names: NDArray[np.int32]
    starts: NDArray[np.int64]
    centers: NDArray[np.floating]
    scale: float

    def bucket(self, number: int) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """Return the points of one bucket, and their names."""
        within = slice(self.starts[number], self.starts[number + 1])
        return self.points[within], self.names[within]

    def blocks(self) -> list[tuple[int, int]]:
        """Return runs of points of one bucket."""
        pairs = zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
        return [(a, min(a + QUERIES, end)) for start, end in pairs for a in range(start, end, QUERIES)]


def one_bucket(rows: Rows) -> Buckets:
    """Put all points in one bucket, in the order of the rows."""
    points = np.empty((rows.n, rows.n_coordinates), dtype=rows.dtype)

    def fill(block: tuple[int, int]) -> None:
        points[slice(*block)] = rows.read(slice(*block))

    in_quiet_threads(fill, rows.blocks(), alone=not rows.is_array)
    center = points[:1]
    names, starts = np.arange(rows.n, dtype=np.int32), np.array([0, rows.n])
    return Buckets(points, names, starts, center, scale_of(points))


def in_buckets(rows: Rows) -> Buckets:
    """Put points in buckets whose centres are found by k-means on a sample of them."""
    n_buckets = max(1, rows.n // PER_BUCKET)
    draw = np.random.RandomState(0).permutation(rows.n)[: n_buckets * PER_CENTER]
    centers = _trained(rows.read(np.sort(draw)), n_buckets)
    scale = scale_of(centers)
    bucket = np.empty(rows.n, dtype=np.int32)

    def assign(block: tuple[int, int]) -> float:
        points = rows.read(slice(*block))
        bucket[slice(*block)] = _nearest(points, centers)
        return scale_of(points)

    scales = in_quiet_threads(assign, rows.blocks(), alone=not rows.is_array)
    names = np.argsort(bucket, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=n_buckets))])
    place = np.empty(rows.n, dtype=np.int32)
    place[names] = np.arange(rows.n, dtype=np.int32)
    points = np.empty((rows.n, rows.n_coordinates), dtype=rows.dtype)

    def fill(block: tuple[int, int]) -> None:
        points[place[slice(*block)]] = rows.read(slice(*block))

    in_quiet_threads(fill, rows.blocks(), alone=not rows.is_array)
    return Buckets(points, names, starts, centers, min(scale, *scales))


def _nearest(points: NDArray[np.floating], centers: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the centre that each point is nearest to."""
    scale = min(scale_of(points), scale_of(centers))
    names = np.arange(len(centers), dtype=np.int32)
    found = np.empty(len(points), dtype=np.int32)
    for start in range(0, len(points), QUERIES):
        some = points[start : start + QUERIES]
        closest = ClosestSoFar(some, np.full(len(some), -1, dtype=np.int32), 1, scale)
        closest.look_at(centers, names)
        found[start : start + QUERIES] = closest.found[:, 0]
    return found


def _trained(sample: NDArray[np.floating], n_buckets: int) -> NDArray[np.floating]:
    """Return centres, which begin as some of the sample and move to the middle of the points around them."""
    chosen = np.random.RandomState(0).permutation(len(sample))[:n_buckets]
    centers = sample[np.sort(chosen)]
    blocks = [sample[start : start + QUERIES] for start in range(0, len(sample), QUERIES)]
    for _ in range(TURNS):
        label = np.concatenate(in_quiet_threads(lambda block, to=centers: _nearest(block, to), blocks))  # type: ignore[misc]
        sizes = np.bincount(label, minlength=n_buckets)[:, None]
        sums = np.stack([np.bincount(label, column, n_buckets) for column in sample.T], axis=1)
        moved = (sums / np.maximum(sizes, 1)).astype(sample.dtype)
        centers = np.where(sizes > 0, moved, centers)
    return centers


def ranks_of_buckets(points: NDArray[np.floating], centers: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return for each point how many centres are nearer than each one, of equal ones those of lower number."""
    squares = np.empty((len(points), len(centers)))
    distances_to(points, centers, squares)
    order = np.argsort(squares, axis=1, kind="stable")
    ranks = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(len(centers), dtype=np.int32)[None], axis=1)
    return ranks
