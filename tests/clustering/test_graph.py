from __future__ import annotations

import igraph
import numpy as np
import pytest
from scipy import sparse

from scanpy_oom import UnsupportedOutOfMemory
from scanpy_oom.clustering.graph import ClusterGraph
from scanpy_oom.clustering.leiden import modularity


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
    "float16": lambda: weighted().toarray().astype("float16"),
    "integers": lambda: (weighted() > 0).astype("int64"),
    "boolean": lambda: weighted() > 0.5,
    "CSC": lambda: weighted().tocsc(),
    "dense": lambda: weighted().toarray(),
    "loops": with_loops,
    "one way": one_way,
    "stored zeros": with_zeros,
}
DECLINED = ("one way", "stored zeros")
"""Those that are left to scanpy where a pair has one edge."""


def igraphs(matrix, *, use_weights=True, twice=True):
    """The graph that scanpy builds: of an edge for each value, or of one for each pair."""
    matrix = sparse.csr_matrix(matrix.astype("float32") if matrix.dtype == "float16" else matrix)
    matrix = matrix if twice else sparse.triu(matrix, format="csr")
    rows, columns = matrix.nonzero()
    graph = igraph.Graph(matrix.shape[0], edges=list(zip(rows.tolist(), columns.tolist(), strict=True)))
    weights = np.asarray(matrix[rows, columns], dtype=float).ravel()
    return graph, weights if use_weights else np.ones_like(weights)


COVERED = [(name, twice) for name in MATRICES for twice in (True, False) if twice or name not in DECLINED]


@pytest.mark.parametrize("use_weights", [True, False])
@pytest.mark.parametrize("name, twice", COVERED)
def test_sums_and_modularity_are_those_of_scanpys_graph(name, use_weights, twice):
    matrix = MATRICES[name]
    found = ClusterGraph.of(matrix(), use_weights=use_weights, twice=twice)
    assert found.n_vertices == 60
    assert found.indices.dtype == np.int32
    graph, weights = igraphs(matrix(), use_weights=use_weights, twice=twice)
    rows = sparse.csr_matrix((found.weights, found.indices, found.indptr), shape=(60, 60))
    sums = np.asarray(rows.sum(axis=1)).ravel() * found.factor
    np.testing.assert_allclose(sums, graph.strength(weights=weights), rtol=1e-5)
    labels = (np.arange(60) % 5).astype(np.int32)
    for resolution in (1.0, 0.3):
        expected = graph.modularity(labels, weights=weights, resolution=resolution)
        assert modularity(found, labels, resolution) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sums_of_small_integers_do_not_overflow(dtype):
    matrix = sparse.csr_matrix(np.array([[0, 100], [120, 0]], dtype=dtype))
    np.testing.assert_array_equal(ClusterGraph.of(matrix, use_weights=True, twice=True).weights, [220, 220])


def test_weights_of_both_directions_are_added_where_there_is_room():
    matrix = sparse.csr_matrix(np.array([[0, 3e38], [2e38, 0]], dtype="float32"))
    graph = ClusterGraph.of(matrix, use_weights=True, twice=True)
    np.testing.assert_allclose(graph.weights, 5e38)


@pytest.mark.parametrize("twice", [True, False])
def test_the_matrix_stays_as_it_was_and_its_values_are_not_copied(twice):
    matrix = weighted()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    before = matrix.copy()
    graph = ClusterGraph.of(matrix, use_weights=True, twice=twice)
    assert np.shares_memory(graph.weights, matrix.data)
    assert np.shares_memory(graph.indices, matrix.indices)
    np.testing.assert_array_equal(matrix.data, before.data)


@pytest.mark.parametrize(
    "matrix, twice, said",
    [
        (-weighted(), True, "not positive"),
        (sparse.csr_matrix((4, 4)), True, "no edges"),
        (sparse.csr_matrix((4, 5)), True, "no square matrix"),
        ([[0, 1], [1, 0]], True, "is a list"),
        (weighted(dtype="float64") * 1e-300, True, "weights below 1e-280"),
        (weighted(dtype="float64") * 1e300, True, "sum of weights beyond"),
        (weighted() * np.float32("inf"), True, "sum of weights beyond"),
        (np.ma.masked_less(weighted().toarray(), 0.5), True, "MaskedArray"),
        (
            sparse.csr_matrix((np.ones(4, "float32"), [1, 1, 0, 0], [0, 2, 4]), shape=(2, 2)),
            True,
            "for a pair several times",
        ),
        (one_way(), False, "not the same in both directions"),
        (with_zeros(), False, "weight zero"),
    ],
)
def test_what_is_no_such_graph_is_declined(matrix, twice, said):
    with pytest.raises(UnsupportedOutOfMemory, match=said):
        ClusterGraph.of(matrix, use_weights=True, twice=twice)
