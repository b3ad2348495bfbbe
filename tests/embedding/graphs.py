"""Graphs with known shapes."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def symmetric(graph: sparse.sparray | sparse.spmatrix) -> sparse.csr_matrix:
    """The larger of both directions, in the order of columns."""
    graph = sparse.csr_matrix(graph)
    larger = sparse.csr_matrix(graph.maximum(graph.T)).astype(np.float32)
    larger.sort_indices()
    return larger


def strip(n: int, seed: int = 0) -> sparse.csr_matrix:
    """Neighbours along a line, with weights between a half and 1."""
    rng = np.random.default_rng(seed)
    bands = [rng.uniform(0.5, 1, n - k) for k in range(1, min(6, n))]
    return symmetric(sparse.diags(bands, range(1, len(bands) + 1), shape=(n, n)))


def in_parts(*sizes: int) -> sparse.csr_matrix:
    """Several strips, their vertices mixed."""
    graph = sparse.block_diag([strip(n, seed) for seed, n in enumerate(sizes)], format="csr")
    order = np.random.default_rng(0).permutation(graph.shape[0])
    return symmetric(graph[order][:, order])
