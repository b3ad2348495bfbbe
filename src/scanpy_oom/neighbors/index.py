"""The index of a table of points, and the neighbours that are found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine.budget import require
from ..engine.compute import executor
from ..memory.ledger import ACCOUNTANT
from ..settings import settings
from .buckets import Buckets, in_buckets, one_bucket, ranks_of_buckets
from .points import Rows, distances_of, scale_of
from .search import QUERIES, ClosestSoFar, in_quiet_threads, workspace_nbytes

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .points import Metric

__all__ = ["EXACT_UP_TO", "Index", "Neighbors"]

EXACT_UP_TO = 50_000
"""Points up to which all pairs are compared."""

SAMPLE = 800
"""Points whose neighbours are found among all others, to measure the recall of searching few buckets."""

MOST = 0.5
"""Part of all points from which on comparing with all of them is not dearer than searching some buckets."""


class Neighbors(NamedTuple):
    """Neighbours of points, closest first.

    Attributes
    ----------
    indices
        `(n, k)`.
    distances
        `(n, k)`.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.floating]


class Index:
    """Points that neighbours are found among.

    Parameters
    ----------
    x
        Table of coordinates: an array, a memory map, a sparse matrix or a matrix out of memory.
    k
        Neighbours of a point that are asked for, itself not counted.
    metric
        `"euclidean"`, `"cosine"` or `"correlation"`.
    recall
        Part of the true neighbours that is to be found, at least; 1 has all pairs compared.
    exact_up_to
        Points up to which all pairs are compared.

    Attributes
    ----------
    recall
        Part of the true neighbours that is found: one if all points are compared, else as measured on a sample.
    n_searched
        Buckets that are searched for each point.

    Raises
    ------
    ValueError
        If a coordinate is no finite number.
    MemoryBudgetExceeded
        If the points do not fit in what is left of the memory limit.
    """

    def __init__(
        self, x: Any, k: int, metric: Metric = "euclidean", *, recall: float = 0.995, exact_up_to: int = EXACT_UP_TO
    ) -> None:
        self.rows = Rows(x, metric)
        n, k = self.rows.n, min(k, self.rows.n - 1)
        advice = "Take fewer coordinates, with `n_pcs`."
        require(self.nbytes + self._workspace(k), f"The search of neighbors of {n:,} cells", advice)
        with ACCOUNTANT.reserve(workspace=self.nbytes + self._workspace(k)):
            self.buckets = in_buckets(self.rows) if n > exact_up_to and recall < 1 else one_bucket(self.rows)
            self.n_searched, self.recall = len(self.buckets.centers), 1.0
            if self.n_searched > 1:
                self._measure(k, recall)
        self._holding = ACCOUNTANT.hold(self, "workspace", self.nbytes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_holding"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._holding = ACCOUNTANT.hold(self, "workspace", self.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes."""
        rows = self.rows
        return rows.n * (rows.n_coordinates * rows.dtype.itemsize + 4)

    def _workspace(self, k: int) -> int:
        """Return the bytes that a search takes beside the index and the results."""
        return settings.n_threads * workspace_nbytes(self.rows.n_coordinates, k + 1)

    @property
    def described(self) -> str:
        """What was compared, as a clause."""
        n = len(self.buckets.centers)
        if self.n_searched == n:
            return "all pairs of cells are compared, so that neighbors are exact"
        return (
            f"neighbors are searched in {self.n_searched:,} of {n:,} buckets of cells, "
            f"with a recall of {self.recall:.4f} on {SAMPLE} cells"
        )

    def _measure(self, k: int, wanted: float) -> None:
        """Find how many buckets must be searched for a recall, and the recall that this gives.

        A neighbour is found if its bucket is searched. So the ranks of the buckets of true neighbours tell the recall
        of searching any number of buckets.
        """
        buckets = self.buckets
        sample = np.sort(np.random.RandomState(1).permutation(self.rows.n)[:SAMPLE])
        parts = np.array_split(sample, -(-SAMPLE // (QUERIES // 2)))
        ranks = np.concatenate(in_quiet_threads(lambda part: _ranks(buckets, part, k), parts))
        within = np.cumsum(np.bincount(ranks, minlength=len(buckets.centers))) / ranks.size
        n_searched = int(np.searchsorted(within, wanted)) + 1
        if n_searched > MOST * len(buckets.centers):
            return
        self.n_searched, self.recall = n_searched, float(within[n_searched - 1])

    def neighbors(self, k: int, dtype: DTypeLike = np.float64, *, itself: bool = True) -> Neighbors:
        """Return the neighbours of each point of the index, itself first.

        Parameters
        ----------
        k
            How many are looked for, the point itself among them.
        dtype
            Type of the distances.
        itself
            Whether the point itself is told, too.
        """
        n, buckets, first = self.rows.n, self.buckets, 0 if itself else 1
        shape = n, k - first
        indices, distances = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=dtype)

        search = Search(buckets, self.n_searched, k, self.rows.metric)
        blocks = buckets.blocks()

        def put(block: tuple[int, int], found: Neighbors) -> None:
            names = buckets.names[slice(*block)]
            indices[names], distances[names] = found.indices[:, first:], found.distances[:, first:]

        with ACCOUNTANT.reserve(workspace=self._workspace(k)):
            elsewhere = executor().spread(search_block, search, blocks)
            if elsewhere is None:
                in_quiet_threads(lambda block: put(block, search_block(search, block)), blocks)
            else:
                for block, found in zip(blocks, elsewhere, strict=True):
                    put(block, found)
        return Neighbors(indices, distances)

    def neighbors_of(self, x: Any, k: int, dtype: DTypeLike = np.float64) -> Neighbors:
        """Return the neighbours of other points among those of the index.

        Parameters
        ----------
        x
            Table of their coordinates.
        k
            How many.
        dtype
            Type of the distances.

        Raises
        ------
        ValueError
            If there are not as many columns as in the index.
        """
        rows = Rows(x, self.rows.metric)
        if rows.n_columns != self.rows.n_columns:
            msg = f"X has {rows.n_columns} features, but KNNTransformer is expecting {self.rows.n_columns} features."
            raise ValueError(msg)
        indices, distances = np.empty((rows.n, k), dtype=np.int32), np.empty((rows.n, k), dtype=dtype)
        searched = Search(self.buckets, self.n_searched, k, rows.metric)

        def search(block: tuple[int, int]) -> None:
            points = rows.read(slice(*block)).astype(self.rows.dtype)
            nobody = np.full(len(points), -1, dtype=np.int32)
            for start in range(0, len(points), QUERIES):
                some = slice(start, start + QUERIES)
                scale = min(self.buckets.scale, scale_of(points[some]))
                closest = searched.closest(points[some], nobody[some], scale)
                to = slice(block[0] + start, min(block[0] + start + QUERIES, block[1]))
                indices[to] = closest.found
                distances[to] = distances_of(closest.squares, rows.metric)

        with ACCOUNTANT.reserve(workspace=self._workspace(k)):
            in_quiet_threads(search, rows.blocks(), alone=not rows.is_array)
        return Neighbors(indices, distances)


@dataclass(frozen=True, slots=True)
class Search:
    """A search of neighbours, as other machines get it.

    Parameters
    ----------
    buckets
        The points.
    n_searched
        Buckets that are searched for each.
    k
        Neighbours that are looked for, the point itself among them.
    metric
        In which distances are told.
    """

    buckets: Buckets
    n_searched: int
    k: int
    metric: Metric

    def closest(self, points: NDArray[np.floating], own: NDArray[np.int32], scale: float) -> ClosestSoFar:
        """Search the buckets of each point; all of them where these hold fewer than `k` candidates."""
        buckets, k = self.buckets, self.k
        closest = ClosestSoFar(points, own, k, scale)
        n = len(buckets.centers)
        if self.n_searched == n:
            _look_at_all(buckets, closest)
            return closest
        nearest = ClosestSoFar(points, np.full(len(points), -1, dtype=np.int32), self.n_searched, scale)
        nearest.look_at(buckets.centers, np.arange(n, dtype=np.int32))
        for bucket, rows in _by_bucket(nearest.found):
            closest.look_at(*buckets.bucket(bucket), rows)
        too_few = np.flatnonzero(closest.found[:, -1] < 0)
        if too_few.size:
            again = ClosestSoFar(points[too_few], own[too_few], k, scale)
            _look_at_all(buckets, again)
            closest.squares[too_few], closest.found[too_few] = again.squares, again.found
        return closest


def search_block(search: Search, block: tuple[int, int]) -> Neighbors:
    """Return the neighbours of a run of points of one bucket."""
    points, names = search.buckets.points[slice(*block)], search.buckets.names[slice(*block)]
    closest = search.closest(points, names, search.buckets.scale)
    return Neighbors(closest.found, distances_of(closest.squares, search.metric))


def _look_at_all(buckets: Buckets, closest: ClosestSoFar) -> None:
    for bucket in range(len(buckets.centers)):
        closest.look_at(*buckets.bucket(bucket))


def _by_bucket(nearest: NDArray[np.int32]) -> list[tuple[int, NDArray[np.int64]]]:
    """Return each bucket with the points that it is searched for; those that are searched for most points first."""
    order = np.argsort(nearest.ravel(), kind="stable")
    numbers, starts = np.unique(nearest.ravel()[order], return_index=True)
    rows = np.split(order // nearest.shape[1], starts[1:])
    pairs = list(zip(numbers.tolist(), rows, strict=True))
    return sorted(pairs, key=lambda pair: -pair[1].size)


def _ranks(buckets: Buckets, positions: NDArray[np.int64], k: int) -> NDArray[np.int32]:
    """Return the ranks of the buckets of true neighbours, of some points, in the order in which they are searched."""
    points, names = buckets.points[positions], buckets.names[positions]
    closest = ClosestSoFar(points, names, k + 1, buckets.scale)
    _look_at_all(buckets, closest)
    place = np.empty(len(buckets.names), dtype=np.int32)
    place[buckets.names] = np.arange(len(place), dtype=np.int32)
    of_neighbors = np.searchsorted(buckets.starts, place[closest.found[:, 1:]], side="right") - 1
    return np.take_along_axis(ranks_of_buckets(points, buckets.centers), of_neighbors, axis=1).ravel()
