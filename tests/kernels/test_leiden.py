from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.kernels import reference
from scanpy_oom.kernels.layout import COUNT, next_draw

BETA = 0.25


@st.composite
def graphs(draw: st.DrawFn) -> tuple[sparse.csr_matrix, np.ndarray, float]:
    """A symmetric graph, sizes of vertices, and a resolution, of eighths: what is added up is exact."""
    n = draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(1, 9, (n, n)) / 8 * (rng.random((n, n)) < draw(st.sampled_from([0.1, 0.3, 0.8])))
    weights = np.triu(weights) + np.triu(weights, 1).T
    sizes = rng.integers(0, 9, n) / 8
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return sparse.csr_matrix(weights.astype(dtype)), sizes, draw(st.sampled_from([0.0, 0.125, 0.5, 2.0]))


@st.composite
def clustered(draw: st.DrawFn) -> tuple[sparse.csr_matrix, np.ndarray, float, np.ndarray, np.ndarray]:
    """A graph as above, clusters of its vertices, and an order of these."""
    graph, sizes, resolution = draw(graphs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = len(sizes)
    labels = rng.integers(0, draw(st.integers(1, n)), n).astype(np.int32)
    return graph, sizes, resolution, labels, rng.permutation(n).astype(np.int32)


def arrays(graph: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return graph.indptr.astype(np.int64), graph.indices, graph.data


def same_clusters(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(reference.renumber_clusters(one), reference.renumber_clusters(other))


@given(made=clustered())
def test_move_to_clusters_is_that_of_the_reference(made):
    graph, sizes, resolution, labels, order = made
    expected, found = labels.copy(), labels.copy()
    n_moved = reference.move_to_clusters(graph.toarray().astype(float), sizes, resolution, expected, order)
    assert kernels.move_to_clusters(arrays(graph), sizes, resolution, found, order) == n_moved
    assert same_clusters(found, expected)


def quality(graph: sparse.csr_matrix, sizes: np.ndarray, resolution: float, labels: np.ndarray) -> float:
    weights, totals = reference.merge_clusters(graph.toarray().astype(float), sizes, labels)
    return np.trace(weights) - resolution * (totals**2).sum()


@given(made=clustered())
def test_vertices_move_where_the_quality_is_higher(made):
    graph, sizes, resolution, labels, order = made
    before = quality(graph, sizes, resolution, reference.renumber_clusters(labels))
    n_moved = kernels.move_to_clusters(arrays(graph), sizes, resolution, labels, order)
    after = quality(graph, sizes, resolution, reference.renumber_clusters(labels))
    assert after > before if n_moved else after == before


@given(made=clustered(), seed=st.integers(0, 2**64 - 1))
def test_refine_clusters_is_that_of_the_reference(made, seed):
    graph, sizes, resolution, labels, order = made
    n_clusters = kernels.renumber_clusters(labels)
    state = np.uint64(seed)

    def draw(gains: list[float]) -> int:
        nonlocal state
        with np.errstate(over="ignore"):
            state += COUNT
        chances = np.exp((np.array(gains) - max(gains)) / BETA)
        drawn = float(next_draw(state) >> np.uint64(11)) * 2.0**-53 * chances.sum()
        return int(np.searchsorted(np.cumsum(chances), drawn, side="right"))

    expected = reference.refine_clusters(graph.toarray().astype(float), sizes, resolution, labels, order, draw)
    members = kernels.members_of_clusters(labels, n_clusters, order)
    found, after = kernels.refine_clusters(arrays(graph), sizes, resolution, labels, members, BETA, np.uint64(seed))
    assert same_clusters(found, expected)
    assert np.uint64(after) == state


@given(made=clustered(), seed=st.integers(0, 2**64 - 1))
def test_parts_of_clusters_are_connected(made, seed):
    graph, sizes, resolution, labels, order = made
    members = kernels.members_of_clusters(labels, kernels.renumber_clusters(labels), order)
    parts, _ = kernels.refine_clusters(arrays(graph), sizes, resolution, labels, members, BETA, np.uint64(seed))
    for part in np.unique(parts):
        inside = np.flatnonzero(parts == part)
        assert len(set(labels[inside])) == 1
        assert sparse.csgraph.connected_components(graph[inside][:, inside])[0] == 1


@given(made=clustered())
def test_merge_clusters_is_that_of_the_reference(made):
    graph, sizes, _, labels, order = made
    n_clusters = kernels.renumber_clusters(labels)
    members = kernels.members_of_clusters(labels, n_clusters, order)
    offsets = kernels.count_merged_edges(arrays(graph), labels, members)
    columns, weights, totals = kernels.merge_clusters(arrays(graph), sizes, labels, members, offsets)
    merged = sparse.csr_matrix((weights, columns, offsets), shape=(n_clusters, n_clusters))
    expected, expected_totals = reference.merge_clusters(graph.toarray().astype(float), sizes, labels)
    np.testing.assert_array_equal(merged.toarray(), expected)
    np.testing.assert_array_equal(totals, expected_totals)
    assert merged.nnz == np.count_nonzero(expected)


@given(made=clustered())
def test_cluster_sums_are_those_of_merged_clusters(made):
    graph, sizes, _, labels, _ = made
    n_clusters = kernels.renumber_clusters(labels)
    expected, _ = reference.merge_clusters(graph.toarray().astype(float), sizes, labels)
    totals, within = kernels.cluster_sums(arrays(graph), labels, n_clusters)
    np.testing.assert_array_equal(totals, expected.sum(axis=1))
    assert within == np.trace(expected)


@given(made=clustered())
def test_members_of_clusters_are_in_the_given_order(made):
    *_, labels, order = made
    n_clusters = kernels.renumber_clusters(labels)
    starts, members = kernels.members_of_clusters(labels, n_clusters, order)
    for c in range(n_clusters):
        np.testing.assert_array_equal(members[starts[c] : starts[c + 1]], order[labels[order] == c])


@given(labels=st.lists(st.integers(0, 9), min_size=10, max_size=10))
def test_renumber_clusters_is_that_of_the_reference(labels):
    found = np.array(labels, dtype=np.int32)
    assert kernels.renumber_clusters(found) == len(set(labels))
    np.testing.assert_array_equal(found, reference.renumber_clusters(np.array(labels)))


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_shuffle_vertices_keeps_all_and_brings_each_to_all_places(n):
    found = []
    state = np.uint64(0)
    for _ in range(200):
        order = np.arange(n, dtype=np.int32)
        state = np.uint64(kernels.shuffle_vertices(order, state))
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        found.append(order)
    mean = np.mean(found, axis=0)
    np.testing.assert_allclose(mean, (n - 1) / 2, atol=5 * n / np.sqrt(12 * 200))
