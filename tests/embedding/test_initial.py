from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.embedding import initial
from scanpy_oom.embedding.graph import LayoutGraph

from .graphs import in_parts, strip


def no_distances(n_components, labels):
    raise AssertionError


def test_random_positions_are_those_of_umap_learn():
    found = initial.random(30, 2, np.random.RandomState(3))
    expected = np.random.RandomState(3).uniform(low=-10.0, high=10.0, size=(30, 2)).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_spectral_positions_reach_ten_and_have_a_little_noise():
    graph = LayoutGraph(strip(300), 500)
    one, other = (initial.spectral(graph, 2, np.random.RandomState(seed), no_distances) for seed in (0, 1))
    assert abs(one).max() == pytest.approx(10, abs=0.01)
    assert 0 < abs(one - other).max() < 0.01


def test_few_components_lie_on_the_axes():
    graph = LayoutGraph(in_parts(120, 90, 3, 70), 500)
    _, labels = graph.components()
    found = initial.spectral(graph, 2, np.random.RandomState(0), no_distances)
    centers = np.array([found[labels == label].mean(axis=0) for label in range(4)])
    size = abs(found).max()
    directions = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    # each within half of the way to the next
    assert (((centers / size) * directions).sum(axis=1) > 0.2).all()


def test_many_components_lie_as_their_centroids_do():
    graph = LayoutGraph(in_parts(30, 30, 30, 30, 30, 30), 500)
    _, labels = graph.components()
    centroids = np.arange(6) * 0.5
    seen = []

    def distances(n_components, found):
        seen.append((n_components, found))
        return abs(centroids[:, None] - centroids)

    found = initial.spectral(graph, 2, np.random.RandomState(0), distances)
    assert seen[0][0] == 6
    np.testing.assert_array_equal(seen[0][1], labels)
    centers = np.array([found[labels == label].mean(axis=0) for label in range(6)])
    apart = np.linalg.norm(centers[:, None] - centers, axis=2)
    assert apart[0, 1] < apart[0, 5]


def test_positions_that_are_the_same_are_moved_a_little():
    given = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    np.testing.assert_array_equal(initial.from_positions(given, np.random.RandomState(0)), given)
    given[3] = given[4]
    found = initial.from_positions(given, np.random.RandomState(0))
    assert len(np.unique(found, axis=0)) == 20
    np.testing.assert_allclose(found, given, atol=0.02)


def test_an_axis_on_which_all_are_in_one_place_stays():
    found = initial.rescaled(np.array([[1.0, 7.0], [3.0, 7.0]], dtype=np.float32))
    np.testing.assert_array_equal(found, [[0, 0], [10, 0]])


def test_positions_fill_a_box():
    found = initial.rescaled(np.random.default_rng(0).normal(size=(20, 3)))
    np.testing.assert_allclose([found.min(axis=0), found.max(axis=0)], [[0] * 3, [10] * 3], atol=1e-5)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
