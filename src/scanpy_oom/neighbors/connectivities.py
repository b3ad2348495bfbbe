"""Connectivities of a graph of neighbours, straight to compressed rows: umap-learn's, and scanpy's Gaussian kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..engine.budget import require
from ..kernels import (
    count_symmetric,
    fill_symmetric,
    gauss_weights,
    incoming_edges,
    median_squares,
    sort_neighbors,
    umap_weights,
)
from ..memory.ledger import ACCOUNTANT
from .search import in_quiet_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["gauss", "umap"]

BLOCK = 2**16
"""Points that a thread works on at a time."""


def umap(distances: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the fuzzy simplicial set of UMAP, for the neighbours that a graph holds.

    It is that of umap-learn to float rounding, in single precision.

    Parameters
    ----------
    distances
        Distances of the same number of neighbours of each point, closest first, without the point itself.
    """
    n, k = distances.shape[0], _k(distances)
    table = distances.data.reshape(n, k)
    mean = float(distances.data.sum(dtype=np.float64)) / (n * (k + 1))
    return _symmetric(
        distances, np.float32, lambda out: _in_blocks(n, umap_weights, table, np.log2(k + 1), mean, out), fuzzy=True
    )


def gauss(distances: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the weights of scanpy's Gaussian kernel, for the neighbours that a graph holds.

    They are those of scanpy to float rounding, in the precision of the distances.

    Parameters
    ----------
    distances
        Distances of the same number of neighbours of each point, without the point itself.
    """
    n, k = distances.shape[0], _k(distances)
    table, indices = distances.data.reshape(n, k), distances.indices.reshape(n, k)
    medians = np.empty(n)
    _in_blocks(n, median_squares, table, medians)
    fill = lambda out: _in_blocks(n, gauss_weights, table, indices, medians, out)
    return _symmetric(distances, distances.dtype, fill, fuzzy=False)


def _k(distances: sparse.csr_matrix) -> int:
    return distances.nnz // distances.shape[0]


def _in_blocks(n: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Run a kernel on blocks of points, which it takes before its last argument."""
    *inputs, out = arguments
    blocks = [(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    in_quiet_threads(lambda block: kernel(*inputs, *block, out), blocks)


def _symmetric(
    distances: sparse.csr_matrix, dtype: Any, fill: Callable[[NDArray[Any]], None], *, fuzzy: bool
) -> sparse.csr_matrix:
    """Return a symmetric graph, of the weights that `fill` writes into a table."""
    n, k = distances.shape[0], _k(distances)
    position = np.int32 if n * k < 2**31 else np.int64
    nbytes = n * k * (4 + np.dtype(dtype).itemsize + np.dtype(position).itemsize) + 16 * n
    require(nbytes, f"The connectivities of {n:,} cells", "Take fewer neighbors.")
    with ACCOUNTANT.reserve(workspace=nbytes):
        indices = distances.indices.reshape(n, k).astype(np.int32)
        weights = np.empty((n, k), dtype=dtype)
        fill(weights)
        blocks = [(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
        in_quiet_threads(lambda block: sort_neighbors(indices, weights, *block), blocks)
        starts, edges = np.zeros(n + 1, dtype=np.int64), np.empty(n * k, dtype=position)
        incoming_edges(indices, starts, edges)
        counts = np.empty(n, dtype=np.int64)
        graph = indices, weights, starts, edges, fuzzy
        in_quiet_threads(lambda block: count_symmetric(*graph, *block, counts), blocks)
        ends = np.cumsum(counts)
        indptr: NDArray[Any] = np.concatenate([[0], ends]).astype(np.int32 if ends[-1] < 2**31 else np.int64)
        columns, data = np.empty(indptr[-1], dtype=indptr.dtype), np.empty(indptr[-1], dtype=dtype)
        in_quiet_threads(lambda block: fill_symmetric(*graph, *block, indptr, columns, data), blocks)
    found = sparse.csr_matrix((data, columns, indptr), shape=(n, n))
    found.has_sorted_indices = found.has_canonical_format = True
    return found
