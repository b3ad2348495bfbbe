from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from scipy import sparse

from scanpy_oom.embedding.graph import LayoutGraph

from .graphs import in_parts, strip, symmetric


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_scipy(seed):
    graph = symmetric(sparse.random(60, 60, 0.02, format="csr", random_state=seed))
    n_components, labels = LayoutGraph(graph, 50).components()
    counting = graph.copy()
    counting.data[counting.data < counting.data.max() / 50] = 0
    counting.eliminate_zeros()
    expected = sparse.csgraph.connected_components(counting)
    assert n_components == expected[0] > 1
    np.testing.assert_array_equal(labels, expected[1])


def test_edges_that_no_epoch_uses_do_not_count():
    graph = strip(20)
    graph[9:11, 5:10] *= 0  # stored, and 0
    weak = symmetric(sparse.block_diag([graph, graph])).tolil()
    weak[0, 39] = weak[39, 0] = 0.004
    weak = weak.tocsr().astype(np.float32)
    assert LayoutGraph(weak, 100).components()[0] == LayoutGraph(weak, 500).components()[0] + 1
    assert LayoutGraph(weak, 5).least == LayoutGraph(weak, 500).least  # of few epochs: that of as many as are usual


def test_a_graph_is_symmetric_if_weights_are_the_same_in_both_directions():
    graph = in_parts(30, 40)
    assert LayoutGraph(graph, 100).is_symmetric()
    other = graph.copy()
    other.data[3] *= 1.01
    assert not LayoutGraph(other, 100).is_symmetric()
    assert not LayoutGraph(sparse.triu(graph, format="csr"), 100).is_symmetric()


def test_weights_that_differ_by_rounding_are_the_same():
    graph = in_parts(30, 40)
    graph.data[3] *= 1.0005
    assert LayoutGraph(graph, 100).is_symmetric()


def test_a_vertex_with_many_edges_takes_one_walk():
    n = 400_000
    spokes = sparse.csr_matrix((np.ones(n - 1), (np.arange(n - 1), np.full(n - 1, n - 1))), shape=(n, n))
    wheel = LayoutGraph(symmetric(spokes), 100)  # its last row is as long as all others together
    LayoutGraph(in_parts(3), 100).is_symmetric()  # compiles
    begin = perf_counter()
    assert wheel.is_symmetric()
    assert perf_counter() - begin < 2  # a search through the row for each of its entries takes a minute
