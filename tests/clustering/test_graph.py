from __future__ import annotations

import igraph
import numpy as np
import pytest
from scipy import sparse

from scanpy_oom import UnsupportedOutOfMemory
from scanpy_oom.clustering import graph as graphs
from scanpy_oom.clustering.graph import HalfGraph


def weighted(n=60, *, density=0.1, dtype="float32", seed=0):
    found = sparse.random(n, n, density, format="csr", dtype=dtype, rng=np.random.default_rng(seed))
    return (found + found.T).tocsr()


def with_loops():
    return (weighted() + sparse.identity(60, dtype="float32", format="csr")).tocsr()


def one_way():
    return sparse.random(60, 60, 0.1, format="csr", dtype="float32", rng=np.random.default_rng(1))


def with_zeros():
    found = weighted()
    found.data[found.data > 1] = 0
    return found


MATRICES = {
    "symmetric": weighted,
    "float64": lambda: weighted(dtype="float64"),
    "integers": lambda: (weighted() > 0).astype("int64"),
    "boolean": lambda: weighted() > 0.5,
    "CSC": lambda: weighted().tocsc(),
    "dense": lambda: weighted().toarray(),
    "loops": with_loops,
    "one way": one_way,
    "stored zeros": with_zeros,
}


def scanpys(matrix, *, use_weights=True):
    """A graph with an edge for each value."""
    matrix = sparse.csr_matrix(matrix)
    rows, columns = matrix.nonzero()
    graph = igraph.Graph(matrix.shape[0], edges=list(zip(rows.tolist(), columns.tolist(), strict=True)))
    weights = np.asarray(matrix[rows, columns], dtype=float).ravel()
    return graph, weights if use_weights else np.ones_like(weights)


@pytest.mark.parametrize("use_weights", [True, False])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_one_edge_a_pair_has_the_sums_of_all_edges(matrix, use_weights, monkeypatch):
    monkeypatch.setattr(graphs, "_BLOCK", 50)
    half = HalfGraph.of(matrix(), use_weights=use_weights, twice=True)
    graph, weights = half.build(), half.weights()
    assert graph.ecount() == len(weights) == half.n_edges
    assert len(set(graph.get_edgelist())) == graph.ecount()
    whole, every = scanpys(matrix(), use_weights=use_weights)
    np.testing.assert_allclose(graph.strength(weights=weights), whole.strength(weights=every), rtol=1e-6)
    labels = np.arange(60) % 5
    found = graph.modularity(labels, weights=weights)
    assert found == pytest.approx(whole.modularity(labels, weights=every), abs=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sums_of_small_integers_do_not_overflow(dtype):
    matrix = sparse.csr_matrix(np.array([[0, 100], [120, 0]], dtype=dtype))
    half = HalfGraph.of(matrix, use_weights=True, twice=True)
    np.testing.assert_array_equal(half.weights(), [220])


@pytest.mark.parametrize("twice", [True, False])
def test_the_matrix_stays_as_it_was(twice):
    matrix = weighted()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    before = matrix.copy()
    half = HalfGraph.of(matrix, use_weights=True, twice=twice)
    half.weights()
    assert np.shares_memory(half.data, matrix.data)
    np.testing.assert_array_equal(matrix.data, before.data)
    assert half.weights().sum() == pytest.approx((2 if twice else 1) * sparse.triu(matrix, 1).sum())


@pytest.mark.parametrize(
    "matrix, twice, said",
    [
        (-weighted(), True, "not positive"),
        (sparse.csr_matrix((4, 4)), True, "no edges"),
        (sparse.csr_matrix((4, 5)), True, "no square matrix"),
        ([[0, 1], [1, 0]], True, "is a list"),
        (one_way(), False, "not the same in both directions"),
        (with_zeros(), False, "weight zero"),
    ],
)
def test_what_is_no_such_graph_is_declined(matrix, twice, said):
    with pytest.raises(UnsupportedOutOfMemory, match=said):
        HalfGraph.of(matrix, use_weights=True, twice=twice)


def test_what_ends_the_making_of_edges_is_raised(monkeypatch):
    def pairs(self):
        yield 0, 1
        raise KeyboardInterrupt

    monkeypatch.setattr(HalfGraph, "_pairs", pairs)
    with pytest.raises(KeyboardInterrupt):
        HalfGraph.of(weighted(), use_weights=True, twice=True).build()
