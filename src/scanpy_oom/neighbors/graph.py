"""The graph of distances between nearest neighbours, as scanpy keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..messages import remark
from .index import Index

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .points import Metric

__all__ = ["distance_graph"]


def distance_graph(
    x: Any, n_neighbors: int, metric: Metric, dtype: DTypeLike = np.float64
) -> tuple[sparse.csr_matrix, float]:
    """Return the distances of each point from its nearest neighbours, and the part of these that was found.

    Parameters
    ----------
    x
        Coordinates.
    n_neighbors
        Neighbours of a point, itself the first of them; it has no entry in the graph.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``.
    dtype
        Type of the distances.
    """
    index = Index(x, n_neighbors - 1, metric)
    remark(index.described)
    found = index.neighbors(n_neighbors, dtype, itself=False)
    n, k = found.indices.shape
    indptr = np.arange(0, n * k + 1, k, dtype=np.int32 if n * k < 2**31 else np.int64)
    data, indices = found.distances.ravel(), found.indices.ravel()
    return sparse.csr_matrix((data, indices, indptr), shape=(n, n)), index.recall
