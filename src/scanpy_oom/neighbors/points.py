"""Rows of a table of coordinates, wherever it lies, as points whose Euclidean distances give those of a metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import sparse

from ..kernels import largest_value, unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["METRICS", "Metric", "Rows", "distances_of", "scale_of"]

Metric = Literal["euclidean", "cosine", "correlation"]

METRICS: tuple[str, ...] = get_args(Metric)

BLOCK = 8192
"""Rows that are read at a time."""

LARGEST = 1e150
"""Magnitude of coordinates whose squares are still numbers."""


class Rows:
    """Rows of a table, read as points.

    Points are the rows themselves where the metric is Euclidean. For the others they are of length one, with one more
    coordinate, which is that of rows that have no length.

    Parameters
    ----------
    x
        An array, a memory map, a sparse matrix or a matrix out of memory.
    metric
        One of :data:`METRICS`.

    Raises
    ------
    ValueError
        If it is no table of numbers.
    """

    def __init__(self, x: Any, metric: Metric) -> None:
        table: Any = x if hasattr(x, "shape") else np.asarray(x)
        if len(table.shape) != 2:
            msg = f"Expected 2D array, got {len(table.shape)}D array instead: rows are cells, columns coordinates."
            raise ValueError(msg)
        self._x: Any = table.tocsr() if sparse.issparse(table) else table
        if np.dtype(self._x.dtype).kind not in "biuf":
            msg = f"Coordinates must be real numbers, not {self._x.dtype}."
            raise ValueError(msg)
        self.metric = metric
        self.n, self.n_columns = self._x.shape
        self.n_coordinates = self.n_columns + (metric != "euclidean")
        self.dtype = np.dtype(np.float32 if self._x.dtype in (np.float32, np.float16) else np.float64)

    @property
    def is_array(self) -> bool:
        """True if threads may read it, each for itself."""
        return isinstance(self._x, np.ndarray)

    def blocks(self) -> list[tuple[int, int]]:
        """Return where blocks of rows begin and end."""
        return [(start, min(start + BLOCK, self.n)) for start in range(0, self.n, BLOCK)]

    def read(self, rows: slice | NDArray[np.int64]) -> NDArray[np.floating]:
        """Return some rows as points.

        Raises
        ------
        ValueError
            If there is something among them that is no finite number, or too large to be squared.
        """
        values: Any = self._x[rows]
        if sparse.issparse(values):
            values = values.toarray()
        points = np.array(values, dtype=self.dtype, order="C")
        largest = largest_value(points)
        if largest > LARGEST:
            what = "NaN or infinity" if math.isinf(largest) else f"a value of {largest:.3g}, too large to be squared"
            msg = f"Input X contains {what}."
            raise ValueError(msg)
        if self.metric == "euclidean":
            return points
        out = np.empty((points.shape[0], self.n_coordinates), dtype=self.dtype)
        unit_rows(points, self.metric == "correlation", out)
        return out


def scale_of(*points: NDArray[np.floating]) -> float:
    """Return the power of two that makes coordinates at most one, if not much smaller."""
    largest = max(largest_value(some) for some in points)
    return 2.0 ** min(-math.frexp(largest)[1], 1000) if largest else 1.0


def distances_of(squares: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return distances in a metric, of squared Euclidean distances of points; in place."""
    np.maximum(squares, 0, out=squares)  # each point is below all others to itself
    if metric == "euclidean":
        return np.sqrt(squares, out=squares)
    squares /= 2
    return squares
