"""The search of neighbours as scikit-learn does such things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .index import EXACT_UP_TO, Index
from .points import METRICS

if TYPE_CHECKING:
    from .index import Neighbors
    from .points import Metric

__all__ = ["KNNTransformer"]


class KNNTransformer(TransformerMixin, BaseEstimator):
    """Find nearest neighbours, exactly for few cells and with a measured recall for many.

    It does what ``sklearn.neighbors.KNeighborsTransformer(mode="distance")`` does, and can be given to
    ``sc.pp.neighbors(adata, transformer=...)``. Up to `exact_up_to` cells all pairs are compared. More cells are put in
    buckets around the centres of k-means. Each cell is searched for in the buckets whose centres are nearest to it, as
    many as a sample of cells takes to find `recall` of its neighbours.

    Distances are those of the coordinates as they are given, summed up in double precision; of equal distances that to
    the lower index comes first. Results do not depend on the number of threads and the memory limit.

    Parameters
    ----------
    n_neighbors
        Neighbours of each cell, itself not counted.
    metric
        ``"euclidean"``, ``"cosine"`` or ``"correlation"``.
    recall
        Part of the true neighbours that is to be found, at least; 1 has all pairs compared.
    exact_up_to
        Cells up to which all pairs are compared.

    Attributes
    ----------
    recall_ : float
        Part of the true neighbours that is found: 1 where all pairs are compared, else as measured on a sample.
    n_features_in_ : int
        Number of coordinates.

    Examples
    --------
    >>> from scanpy_oom.neighbors import KNNTransformer
    >>> sc.pp.neighbors(adata, transformer=KNNTransformer(n_neighbors=15))  # doctest: +SKIP
    """

    recall_: float
    n_features_in_: int

    def __init__(
        self,
        n_neighbors: int = 15,
        *,
        metric: Metric = "euclidean",
        recall: float = 0.995,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.recall = recall
        self.exact_up_to = exact_up_to

    def fit(self, X: Any, y: None = None) -> Self:
        """Put cells in buckets, and find how many of these must be searched.

        Parameters
        ----------
        X
            Coordinates, a row for each cell: an array, a memory map, a sparse matrix or a matrix out of memory.
        y
            Not used.

        Raises
        ------
        ValueError
            If a parameter makes no sense, there are too few cells, or a coordinate is no finite number.
        MemoryBudgetExceeded
            If a copy of the coordinates does not fit in what is left of ``settings.memory_limit``.
        """
        self._check()
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        if n <= self.n_neighbors:
            msg = f"Expected n_neighbors < n_samples_fit, but n_neighbors = {self.n_neighbors}, n_samples_fit = {n}."
            raise ValueError(msg)
        self.index_ = Index(X, self.n_neighbors, self.metric, recall=self.recall, exact_up_to=self.exact_up_to)
        self.recall_, self.n_features_in_ = self.index_.recall, self.index_.rows.n_columns
        self.n_samples_fit_ = n
        return self

    def transform(self, X: Any) -> sparse.csr_matrix:
        """Return the distances of cells from the nearest among those of :meth:`fit`.

        Parameters
        ----------
        X
            Coordinates. A cell that was among those of :meth:`fit` is found as its own neighbour.

        Returns
        -------
        `n_neighbors` + 1 entries in each row, closest first.
        """
        check_is_fitted(self)
        k = min(self.n_neighbors + 1, self.n_samples_fit_)
        return self._graph(self.index_.neighbors_of(X, k))

    def fit_transform(self, X: Any, y: None = None) -> sparse.csr_matrix:
        """Return the distances of cells from each other, each cell first in its row.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.

        Returns
        -------
        `n_neighbors` + 1 entries in each row, closest first.
        """
        self.fit(X)
        return self._graph(self.index_.neighbors(self.n_neighbors + 1))

    def _check(self) -> None:
        if self.n_neighbors < 1:
            msg = f"n_neighbors must be at least 1, not {self.n_neighbors!r}."
            raise ValueError(msg)
        if self.metric not in METRICS:
            msg = f"metric must be one of {', '.join(map(repr, METRICS))}, not {self.metric!r}."
            raise ValueError(msg)
        if not 0 < self.recall <= 1:
            msg = f"recall must be above 0 and at most 1, not {self.recall!r}."
            raise ValueError(msg)

    def _graph(self, found: Neighbors) -> sparse.csr_matrix:
        n, k = found.indices.shape
        indptr = np.arange(0, n * k + 1, k)
        return sparse.csr_matrix(
            (found.distances.ravel(), found.indices.ravel(), indptr), shape=(n, self.n_samples_fit_)
        )
