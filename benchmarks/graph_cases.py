"""Calls of the kernels of neighbors, graphs and layouts, for :mod:`benchmarks.test_kernels`."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from scanpy_oom import kernels
from scanpy_oom.kernels.graph import PANEL
from scanpy_oom.kernels.layout import tabulate

__all__ = ["GRAPH_CASES", "GraphCases"]

N, K, DIM = 100_000, 15, 50
N_QUERIES, N_CANDIDATES = 512, 1024
SLACK, LEAST, TOLERANCE = 1e-5, 1 / 200, 1e-3


class GraphCases:
    """Points in 50 coordinates, and the graph of 15 neighbors of points in a plane.

    A method prepares a call of the kernel of its name and returns it.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._points = rng.normal(size=(N, DIM)).astype(np.float32)
        self._places = rng.uniform(0, 10, (N, 2)).astype(np.float32)
        distances, indices = cKDTree(self._places).query(self._places, K + 1)
        self._distances, self._indices = distances[:, 1:].astype(np.float32), indices[:, 1:].astype(np.int32)
        self._weights = np.exp(-10 * self._distances)
        table = self._weights.ravel(), self._indices.ravel(), np.arange(0, N * K + 1, K, dtype=np.int32)
        directed = sparse.csr_matrix(table, shape=(N, N))
        graph = directed.maximum(directed.T).tocsr()
        self._graph = graph.indptr, graph.indices, graph.data
        self.n_entries = graph.nnz

    def largest_value(self):
        return lambda: kernels.largest_value(self._points)

    def unit_rows(self):
        out = np.empty((N, DIM + 1), dtype=np.float32)
        return lambda: kernels.unit_rows(self._points, True, out)  # noqa: FBT003

    def distances_to(self):
        out = np.empty((N_QUERIES, N_CANDIDATES))
        return lambda: kernels.distances_to(self._points[:N_QUERIES], self._points[-N_CANDIDATES:], out)

    def nearby(self):
        near, lows = np.empty((N, DIM + 1), dtype=np.float32), np.empty(N, dtype=np.float32)
        center = self._points.mean(axis=0, dtype=np.float64)
        return lambda: kernels.nearby(self._points, center, 1 / 8, SLACK, 1.0, near[:, :DIM], lows)

    def keep_closest(self):
        center, scale = self._points.mean(axis=0, dtype=np.float64), 1 / 8
        points, candidates = self._points[:N_QUERIES], self._points[-N_CANDIDATES:]
        near, tile = (np.ones((n, DIM + 1), dtype=np.float32) for n in (N_QUERIES, N_CANDIDATES))
        lows, tile_lows = np.empty(N_QUERIES, dtype=np.float32), np.empty(N_CANDIDATES, dtype=np.float32)
        kernels.nearby(points, center, scale, SLACK, -2.0, near[:, :DIM], lows)
        kernels.nearby(candidates, center, scale, SLACK, 1.0, tile[:, :DIM], tile_lows)
        tile[:, DIM] = tile_lows
        own, names = np.full(N_QUERIES, -1, dtype=np.int32), np.arange(N_CANDIDATES, dtype=np.int32)
        looked_at = near @ tile.T, np.arange(N_QUERIES), lows, scale, points, own, candidates, names
        squares, found = np.full((N_QUERIES, K), np.inf), np.full((N_QUERIES, K), -1, dtype=np.int32)
        return lambda: kernels.keep_closest(*looked_at, squares.copy(), found.copy())

    def umap_weights(self):
        target, mean = np.log2(K + 1), float(self._distances.mean())
        out = np.empty_like(self._weights)
        return lambda: kernels.umap_weights(self._distances, target, mean, 0, N, out)

    def median_squares(self):
        out = np.empty(N)
        return lambda: kernels.median_squares(self._distances, 0, N, out)

    def gauss_weights(self):
        medians, out = np.median(self._distances.astype(np.float64) ** 2, axis=1), np.empty_like(self._weights)
        return lambda: kernels.gauss_weights(self._distances, self._indices, medians, 0, N, out)

    def sort_neighbors(self):
        return lambda: kernels.sort_neighbors(self._indices.copy(), self._weights.copy(), 0, N)

    def incoming_edges(self):
        edges = np.empty(N * K, dtype=np.int32)
        return lambda: kernels.incoming_edges(self._indices, np.zeros(N + 1, dtype=np.int64), edges)

    def count_symmetric(self):
        directed, counts = self._directed(), np.empty(N, dtype=np.int64)
        return lambda: kernels.count_symmetric(*directed, True, 0, N, counts)  # noqa: FBT003

    def fill_symmetric(self):
        directed, counts = self._directed(), np.empty(N, dtype=np.int64)
        kernels.count_symmetric(*directed, True, 0, N, counts)  # noqa: FBT003
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        out = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=np.float32)
        return lambda: kernels.fill_symmetric(*directed, True, 0, N, indptr, *out)  # noqa: FBT003

    def is_symmetric(self):
        return lambda: kernels.is_symmetric(self._graph, TOLERANCE)

    def connected_components(self):
        labels = np.empty(N, dtype=np.int32)
        return lambda: kernels.connected_components(self._graph, LEAST, labels)

    def degrees(self):
        out = np.empty(N, dtype=np.float32)
        return lambda: kernels.degrees(self._graph, LEAST, 0, N, out)

    def chebyshev_step(self):
        rows, vectors = np.arange(N, dtype=np.int32), np.random.default_rng(0).random((2, N, PANEL), dtype=np.float32)
        return lambda: kernels.chebyshev_step(self._graph, LEAST, rows, *vectors, (0.5, 0.25, -0.125))

    def weighted_panel_sums(self):
        rows, vectors = np.arange(N, dtype=np.int32), np.random.default_rng(0).random((N, PANEL), dtype=np.float32)
        weights, out = vectors[:, 0].copy(), np.zeros(PANEL)
        return lambda: kernels.weighted_panel_sums(weights, rows, vectors, out)

    def subtract_from_panel(self):
        rows, vectors = np.arange(N, dtype=np.int32), np.random.default_rng(0).random((N, PANEL), dtype=np.float32)
        return lambda: kernels.subtract_from_panel(rows, np.full(PANEL, 1e-9), vectors)

    def move_vertices(self):
        return self._move(kernels.move_vertices)

    def move_vertices_in_plane(self):
        return self._move(kernels.move_vertices_in_plane)

    def shuffle_vertices(self):
        order = np.arange(N, dtype=np.int32)
        return lambda: kernels.shuffle_vertices(order, np.uint64(0))

    def move_to_clusters(self):
        arrays, sizes, resolution, order = self._for_leiden()
        return lambda: kernels.move_to_clusters(arrays, sizes, resolution, np.arange(N, dtype=np.int32), order)

    def refine_clusters(self):
        arrays, sizes, resolution, _ = self._for_leiden()
        labels, clusters = self._clusters()
        return lambda: kernels.refine_clusters(arrays, sizes, resolution, labels, clusters, 0.01, np.uint64(0))

    def renumber_clusters(self):
        labels, _ = self._clusters()
        return lambda: kernels.renumber_clusters(labels)

    def members_of_clusters(self):
        labels, (starts, _) = self._clusters()
        order = np.arange(N, dtype=np.int32)
        return lambda: kernels.members_of_clusters(labels, len(starts) - 1, order)

    def count_merged_edges(self):
        arrays, *_ = self._for_leiden()
        labels, clusters = self._clusters()
        return lambda: kernels.count_merged_edges(arrays, labels, clusters)

    def merge_clusters(self):
        arrays, sizes, *_ = self._for_leiden()
        labels, clusters = self._clusters()
        offsets = kernels.count_merged_edges(arrays, labels, clusters)
        return lambda: kernels.merge_clusters(arrays, sizes, labels, clusters, offsets)

    def cluster_sums(self):
        arrays, *_ = self._for_leiden()
        labels, (starts, _) = self._clusters()
        return lambda: kernels.cluster_sums(arrays, labels, len(starts) - 1)

    def _for_leiden(self):
        """Return the graph, sizes of vertices, the resolution by these, and an order of vertices."""
        indptr, indices, weights = self._graph
        arrays, order = (indptr.astype(np.int64), indices, weights), np.arange(N, dtype=np.int32)
        sizes = kernels.cluster_sums(arrays, order, N)[0]
        kernels.shuffle_vertices(order, np.uint64(0))
        return arrays, sizes, 1 / sizes.sum(), order

    def _clusters(self):
        """Return what a first round of moves finds: the cluster of each vertex, and the vertices by cluster."""
        labels = np.arange(N, dtype=np.int32)
        arrays, sizes, resolution, order = self._for_leiden()
        kernels.move_to_clusters(arrays, sizes, resolution, labels, order)
        return labels, kernels.members_of_clusters(labels, kernels.renumber_clusters(labels), order)

    def _directed(self):
        """Return edges in the order of their numbers, and those that lead to each point."""
        indices, weights = self._indices.copy(), self._weights.copy()
        kernels.sort_neighbors(indices, weights, 0, N)
        starts, edges = np.zeros(N + 1, dtype=np.int64), np.empty(N * K, dtype=np.int32)
        kernels.incoming_edges(indices, starts, edges)
        return indices, weights, starts, edges

    def _move(self, move):
        """Return a call that moves all vertices in a plane once, so that both kernels can be compared."""
        tables = tabulate(lambda square: -1 / (1 + square)), tabulate(lambda square: 1 / (0.001 + square))
        moved, largest = np.empty_like(self._places), float(self._weights.max())
        which, when = (0, 1, 0, N), (100, np.uint64(0))
        return lambda: move(self._graph, self._places, moved, which, when, (0.5, 5.0), tables, largest)


GRAPH_CASES = {name: method for name, method in vars(GraphCases).items() if not name.startswith("_")}
"""Methods of :class:`GraphCases` by the kernels that they call."""
