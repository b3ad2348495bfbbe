from __future__ import annotations

from threading import Event, get_ident

import igraph
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import settings
from scanpy_oom.clustering import leiden
from scanpy_oom.clustering.graph import ClusterGraph
from scanpy_oom.clustering.leiden import Search, find_clusters, modularity
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.settings import format_bytes

from .test_graph import igraphs, weighted


@pytest.fixture(scope="module")
def matrix():
    """Neighbours of points in no clusters: a graph on which partitions differ."""
    points = np.random.default_rng(0).normal(size=(1500, 10)).astype("float32")
    adata = sc.AnnData(points)
    sc.pp.neighbors(adata, use_rep="X", random_state=0)
    return adata.obsp["connectivities"]


@pytest.fixture
def graph(matrix):
    return ClusterGraph.of(matrix, use_weights=True, twice=True)


def found_in(graph, resolution=1.0, seed=0, n_iterations=2, **options):
    (found,) = find_clusters(graph, [Search(resolution, n_iterations, seed, **options)])
    return found


@pytest.mark.parametrize("resolution", [0.3, 1.0, 3.0])
def test_modularity_is_as_high_as_igraphs(matrix, graph, resolution):
    ours = [found_in(graph, resolution, seed).modularity for seed in range(10)]
    whole, weights = igraphs(matrix)
    theirs = [
        whole.community_leiden("modularity", weights=weights, resolution=resolution, n_iterations=2).modularity
        for _ in range(10)
    ]
    spread = max(np.std(ours), np.std(theirs))
    assert np.mean(ours) >= np.mean(theirs) - 3 * spread / np.sqrt(5) - 1e-7


def test_the_potts_model_is_as_good_as_igraphs(matrix, graph):
    whole, weights = igraphs(matrix)

    edges = np.array(whole.get_edgelist())

    def quality(labels):
        within = weights[np.asarray(labels)[edges[:, 0]] == np.asarray(labels)[edges[:, 1]]].sum()
        return within - 0.05 * np.sum(np.bincount(labels) ** 2) / 2

    ours = [quality(found_in(graph, 0.05, seed, objective="CPM").labels) for seed in range(5)]
    theirs = [
        quality(whole.community_leiden("CPM", weights=weights, resolution=0.05, n_iterations=2).membership)
        for _ in range(5)
    ]
    assert np.mean(ours) >= np.mean(theirs) - 3 * max(np.std(ours), np.std(theirs)) / np.sqrt(2.5)


def test_well_separated_clusters_are_found_whatever_the_seed():
    blocks = sparse.block_diag([weighted(50, density=0.3, seed=seed) for seed in range(8)], format="csr")
    graph = ClusterGraph.of(blocks, use_weights=True, twice=True)
    for seed in range(5):
        np.testing.assert_array_equal(found_in(graph, 0.2, seed).labels, np.repeat(np.arange(8), 50))


def test_clusters_are_connected_and_numbered_by_their_first_vertices(matrix, graph):
    labels = found_in(graph, 3.0).labels
    assert list(dict.fromkeys(labels)) == list(range(labels.max() + 1))
    for cluster in range(labels.max() + 1):
        inside = np.flatnonzero(labels == cluster)
        assert sparse.csgraph.connected_components(matrix[inside][:, inside])[0] == 1


def test_iterations_never_make_it_worse_and_end(graph):
    found = [found_in(graph, n_iterations=n).modularity for n in (1, 2, 5, -1)]
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize("objective", ["modularity", "CPM"])
@pytest.mark.parametrize("exponents", [(-18, 1), (-200, 200), (0, 0), (-1, 1)], ids=str)
def test_it_ends_whatever_the_weights_and_the_resolution(exponents, objective):
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 30))
        matrix = np.triu(10.0 ** rng.uniform(*exponents, (n, n)) * (rng.random((n, n)) < rng.uniform(0.1, 1)))
        if matrix.any():
            graph = ClusterGraph.of(matrix + matrix.T, use_weights=True, twice=True)
            resolution = float(rng.choice([-1.0, 0.0, 0.1, 0.9, 1.0, 30.0]))
            assert found_in(graph, resolution, seed, -1, objective=objective).labels.size == n


def test_weights_of_very_different_sizes_do_not_go_in_circles():
    pairs = [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (5, 0)]
    weights = [0.44, 7.3, 4.3e-10, 1.3e-9, 2.7e-17, 3e-15]
    half = sparse.coo_matrix((weights, np.transpose(pairs)), shape=(6, 6))
    graph = ClusterGraph.of((half + half.T).tocsr(), use_weights=True, twice=True)
    for seed in range(20):
        for n_iterations in (2, -1):
            assert found_in(graph, 0.9, seed, n_iterations).labels.max() < 6


def test_no_iteration_leaves_what_was_given(graph):
    start = np.arange(graph.n_vertices) % 7
    np.testing.assert_array_equal(found_in(graph, n_iterations=0, start=start).labels, start)
    assert found_in(graph, n_iterations=0).labels.max() == graph.n_vertices - 1


def test_a_start_is_made_better(graph):
    start = found_in(graph, n_iterations=1).labels
    assert found_in(graph, start=start).modularity > modularity(graph, start)


def test_a_beta_that_is_large_draws_otherwise(graph):
    assert not np.array_equal(found_in(graph).labels, found_in(graph, beta=1.0).labels)


def test_sizes_take_the_place_of_sums_of_weights(matrix, graph):
    whole, weights = igraphs(matrix)
    sums = np.array(whole.strength(weights=weights))  # as igraph has them by default
    assert abs(found_in(graph, sizes=sums).labels.max() - found_in(graph).labels.max()) <= 2
    assert found_in(graph, sizes=sums).modularity == pytest.approx(found_in(graph).modularity, rel=0.02)
    assert not np.array_equal(found_in(graph, sizes=np.ones(graph.n_vertices)).labels, found_in(graph).labels)


def test_results_depend_on_the_seed_alone(graph):
    searches = [Search(resolution, 2, seed) for resolution in (0.5, 1.0) for seed in (0, 1, 2)]
    settings.n_threads = 1
    expected = find_clusters(graph, searches)
    assert not np.array_equal(expected[0].labels, expected[1].labels)
    for n_threads, limit in ((2, "1 GB"), (4, "300 MB")):
        settings.n_threads, settings.memory_limit = n_threads, limit
        for found, wanted in zip(find_clusters(graph, searches), expected, strict=True):
            np.testing.assert_array_equal(found.labels, wanted.labels)
            assert found.modularity == wanted.modularity


def test_more_than_the_limit_is_warned_of(graph, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(sc.logging, "warning", said.append)
    found_in(graph)
    assert not said
    monkeypatch.setattr(ClusterGraph, "nbytes_of_search", property(lambda _: settings.memory_limit + 1))
    found_in(graph)
    (text,) = said
    assert (
        f"{len(graph.indices):,} connectivities, more than the limit of {format_bytes(settings.memory_limit)}" in text
    )


def test_memory_is_reserved_for_each_search_at_one_time_and_no_more_than_fit(graph, monkeypatch):
    held = []
    before = ACCOUNTANT.held.get("workspace", 0)
    own = leiden._find

    def look(*args):
        held.append(ACCOUNTANT.held.get("workspace", 0) - before)
        return own(*args)

    monkeypatch.setattr(leiden, "_find", look)
    settings.n_threads = 4
    searches = [Search(1.0, 1, 0)] * 3
    find_clusters(graph, searches)
    assert held == [3 * graph.nbytes_of_search] * 3
    held.clear()
    nbytes = ACCOUNTANT.available() // 2 + 1
    monkeypatch.setattr(ClusterGraph, "nbytes_of_search", property(lambda _: nbytes))
    find_clusters(graph, searches)
    assert held == [nbytes] * 3
    assert ACCOUNTANT.held.get("workspace", 0) == before


def test_what_fails_ends_the_others(graph, monkeypatch):
    own, begun = leiden.move_to_clusters, Event()

    def move(*args):
        begun.set()
        return own(*args) + 1  # so that it never ends by itself

    def find(graph, wanted, stop, own=leiden._find):
        if wanted.seed == 1:
            assert begun.wait(60)
            raise KeyboardInterrupt
        return own(graph, wanted, stop)

    monkeypatch.setattr(leiden, "move_to_clusters", move)
    monkeypatch.setattr(leiden, "_find", find)
    settings.n_threads = 2
    with pytest.raises(KeyboardInterrupt):
        find_clusters(graph, [Search(1.0, -1, seed) for seed in range(2)])


def test_searches_run_apart_from_the_thread_that_is_interrupted(graph, monkeypatch):
    threads = []
    own = leiden._find

    def find(*args):
        threads.append(get_ident())
        return own(*args)

    monkeypatch.setattr(leiden, "_find", find)
    settings.n_threads = 1
    found_in(graph)
    assert get_ident() not in threads


def test_igraph_is_not_needed(graph, monkeypatch):
    monkeypatch.setattr(igraph, "Graph", None)
    assert found_in(graph).labels.max() > 1
