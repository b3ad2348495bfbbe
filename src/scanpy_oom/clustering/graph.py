"""Graphs without directions, in the arrays of a matrix that is the same in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..errors import UnsupportedOutOfMemory
from ..kernels import is_symmetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClusterGraph"]

_BYTES_OF_AN_ENTRY, _BYTES_OF_A_VERTEX = 24, 100
"""What Leiden takes at most beside the graph, as measured on a million cells: graphs of clusters, and what is known of
each vertex."""

_LEAST, _MOST = 1e-280, 1e300
"""Bounds of weights and of their sum: beyond, double precision has fewer digits, or none."""


@dataclass(frozen=True)
class ClusterGraph:
    """A graph in which clusters are looked for.

    Parameters
    ----------
    indptr, indices, weights
        A symmetric matrix as CSR, without duplicates. What is on the diagonal counts as often as what is beside it, so
        that rows add up to what igraph calls the strength of a vertex.
    factor
        What igraph's weights of the graph that this one stands for are in those of the matrix.
    is_symmetric
        True if the graph was given so.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.floating]
    factor: float
    is_symmetric: bool

    @classmethod
    def of(cls, adjacency: Any, *, use_weights: bool, twice: bool) -> ClusterGraph:
        """Take the edges of a matrix.

        Parameters
        ----------
        adjacency
            Weights of edges.
        use_weights
            Whether these count, or only which edges there are.
        twice
            Whether scanpy has an edge for each stored value, and so two of most pairs, or one a pair.

        Raises
        ------
        UnsupportedOutOfMemory
            If weights are negative, or differ by direction where each pair has one edge, or there are none.
        """
        matrix = _canonical(adjacency)
        if not matrix.data.all():
            if not twice:
                reason = "the graph has edges of weight zero"
                raise UnsupportedOutOfMemory(reason)
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        if not matrix.nnz:
            reason = "the graph has no edges"
            raise UnsupportedOutOfMemory(reason)
        least = matrix.data.min()
        if not least > 0:
            reason = "the graph has weights that are not positive"
            raise UnsupportedOutOfMemory(reason)
        with np.errstate(over="ignore"):
            whole = matrix.data.sum(dtype=np.float64)
        if least < _LEAST or not whole < _MOST:
            reason = f"the graph has weights below {_LEAST:g}, or a sum of weights beyond {_MOST:g}"
            raise UnsupportedOutOfMemory(reason)
        symmetric = bool(is_symmetric((matrix.indptr, matrix.indices, matrix.data), 0.0))
        if not (symmetric or twice):
            reason = "the graph is not the same in both directions"
            raise UnsupportedOutOfMemory(reason)
        if not use_weights:
            matrix = type(matrix)((np.ones(matrix.nnz, np.float32), matrix.indices, matrix.indptr), matrix.shape)
        if not symmetric:
            matrix = matrix.astype(np.float64)  # in which the sum of two weights has room
            matrix = (matrix + matrix.T).tocsr()
            matrix.sort_indices()
        elif not twice and matrix.diagonal().any():  # one edge to itself touches a vertex with both ends
            matrix = (matrix + sparse.diags(matrix.diagonal(), dtype=matrix.dtype)).tocsr()
        factor = 2.0 if symmetric and twice else 1.0
        indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False)
        return cls(indptr, indices, matrix.data, factor, symmetric)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.floating]]:
        """Offsets of rows, columns, weights."""
        return self.indptr, self.indices, self.weights

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self.indptr) - 1

    @property
    def nbytes_of_search(self) -> int:
        """Bytes that looking for clusters takes at most, beside the graph."""
        return _BYTES_OF_AN_ENTRY * len(self.indices) + _BYTES_OF_A_VERTEX * self.n_vertices


def _canonical(adjacency: Any) -> Any:
    """Return a matrix as CSR without duplicates, as it is wherever that can be."""
    is_matrix = sparse.issparse(adjacency) or isinstance(adjacency, np.ndarray)
    if not is_matrix or isinstance(adjacency, np.ma.MaskedArray) or adjacency.dtype.kind not in "fiub":
        reason = f"the graph is a {type(adjacency).__name__}, which is no matrix of real numbers in memory"
        raise UnsupportedOutOfMemory(reason)
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        reason = "the graph is no square matrix"
        raise UnsupportedOutOfMemory(reason)
    matrix = sparse.csr_matrix(adjacency.astype(np.float32) if adjacency.dtype == np.float16 else adjacency)
    if matrix.dtype not in (np.float32, np.float64):  # sums of small integers overflow
        matrix = matrix.astype(np.float32 if matrix.dtype == bool else np.float64)
    if not matrix.has_canonical_format:
        n_stored, matrix = matrix.nnz, matrix.copy()
        matrix.sum_duplicates()
        if matrix.nnz < n_stored:
            reason = "the graph stores weights for a pair several times"
            raise UnsupportedOutOfMemory(reason)
    return matrix
