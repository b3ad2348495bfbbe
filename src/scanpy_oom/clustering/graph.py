"""Graphs for igraph with one edge a pair of cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import igraph
import numpy as np
from scipy import sparse

from ..errors import UnsupportedOutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["BYTES_OF_AN_EDGE", "HalfGraph", "add_edges"]

BYTES_OF_AN_EDGE = 120
"""Bytes for each edge that a graph, its weights and igraph's Leiden take at most, as measured on a million cells."""

_BLOCK = 1 << 16
"""Stored values whose edges are Python objects at one time."""


@dataclass(frozen=True)
class HalfGraph:
    """The entries of a symmetric matrix on and above the diagonal, as edges.

    Parameters
    ----------
    indptr, indices, data
        The matrix as CSR, sorted, without duplicates and zeros.
    factor
        Factor of weights off the diagonal.
    loops
        Factor of weights on the diagonal.
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: NDArray[Any]
    factor: float
    loops: float

    @classmethod
    def of(cls, adjacency: Any, *, use_weights: bool, twice: bool) -> HalfGraph:
        """Take the edges of a matrix.

        Parameters
        ----------
        adjacency
            Weights of edges.
        use_weights
            Whether these count, or only which edges there are.
        twice
            Whether the graph that this one stands for has an edge for each stored value, and so two of most pairs.
            One edge of the sum of weights is as good: sums over edges are the same.

        Raises
        ------
        UnsupportedOutOfMemory
            If weights are negative, or differ by direction where each pair has one edge, or there are none.
        """
        from ..kernels import unpaired_entries  # numba, which a process for one search can do without

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
        if not matrix.data.min() > 0:
            reason = "the graph has weights that are not positive"
            raise UnsupportedOutOfMemory(reason)
        arrays = matrix.indptr, matrix.indices, matrix.data
        symmetric = not any(unpaired_entries(arrays, 0, matrix.shape[0], 0.0))
        if not use_weights:
            matrix = type(matrix)((np.ones(matrix.nnz, np.float32), matrix.indices, matrix.indptr), matrix.shape)
        if symmetric:
            factors = (2.0, 1.0) if twice else (1.0, 1.0)
        elif not twice:
            reason = "the graph is not the same in both directions"
            raise UnsupportedOutOfMemory(reason)
        else:
            matrix = (matrix + matrix.T).tocsr()
            matrix.sort_indices()
            factors = (1.0, 0.5)
        return cls(matrix.indptr, matrix.indices, matrix.data, *factors)

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self.indptr) - 1

    @cached_property
    def n_edges(self) -> int:
        """Number of edges."""
        return sum(int(kept.sum()) for _, _, kept in self._blocks())

    @property
    def nbytes(self) -> int:
        """Bytes that the graph, its weights and Leiden take at most."""
        return BYTES_OF_AN_EDGE * self.n_edges

    def _blocks(self) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.bool_]]]:
        """Yield the place of some rows among stored values, their row numbers, and which values are edges."""
        start, n = 0, self.n_vertices
        while start < n:
            most = self.indptr[start] + _BLOCK
            stop = max(int(np.searchsorted(self.indptr, most, side="right")) - 1, start + 1)
            part = slice(int(self.indptr[start]), int(self.indptr[stop]))
            rows = np.repeat(np.arange(start, stop), np.diff(self.indptr[start : stop + 1]))
            yield part, rows, self.indices[part] >= rows
            start = stop

    def _pairs(self) -> Iterator[tuple[int, int]]:
        for part, rows, kept in self._blocks():
            yield from zip(rows[kept].tolist(), self.indices[part][kept].tolist(), strict=True)

    def build(self) -> Any:
        """Return the graph as igraph's, without weights.

        igraph's wheels make a list of lists of an array of edges. An iterator they take as it is: it is six times as
        fast and takes a third of the memory.
        """
        graph = igraph.Graph(self.n_vertices)
        add_edges(graph, self._pairs())
        return graph

    def weights(self) -> NDArray[Any]:
        """Return the weight of each edge."""
        found = np.empty(self.n_edges, np.float32 if self.data.dtype == np.float32 else np.float64)
        start = 0
        for part, rows, kept in self._blocks():
            factors = np.where(self.indices[part][kept] == rows[kept], self.loops, self.factor)
            stop = start + len(factors)
            found[start:stop] = self.data[part][kept] * factors
            start = stop
        return found


def add_edges(graph: igraph.Graph, pairs: Iterator[tuple[int, int]]) -> None:
    """Add edges as they are made, and raise what ends their making."""
    try:
        graph.add_edges(pairs)
    except SystemError as error:  # igraph takes an iterator that raises for one that has ended
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None


def _canonical(adjacency: Any) -> Any:
    """Return a matrix as CSR without duplicates, as it is wherever that can be."""
    if not (sparse.issparse(adjacency) or isinstance(adjacency, np.ndarray)) or adjacency.dtype.kind not in "fiub":
        reason = f"the graph is a {type(adjacency).__name__}, which is no matrix of real numbers in memory"
        raise UnsupportedOutOfMemory(reason)
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        reason = "the graph is no square matrix"
        raise UnsupportedOutOfMemory(reason)
    matrix = sparse.csr_matrix(adjacency)
    if matrix.dtype.kind != "f":  # sums of small integers overflow
        matrix = matrix.astype(np.float32 if matrix.dtype == bool else np.float64)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix
