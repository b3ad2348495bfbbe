from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

import scanpy_oom
from scanpy_oom.queries import nearest
from scanpy_oom.queries.nearest import count_marked_neighbors


def points(n: int, d: int, seed: int, spread: float = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, d))[rng.integers(5, size=n)] * spread + rng.normal(size=(n, d))


def counted(x: np.ndarray, marked: np.ndarray, k: int) -> np.ndarray:
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    return marked[search.kneighbors(x, return_distance=False)].sum(axis=1)


@settings(max_examples=80)
@given(
    n=st.integers(1, 400),
    d=st.integers(1, 8),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    per_cell=st.sampled_from([5, 30, 400]),
    queries=st.sampled_from([3, 256]),
    tile=st.sampled_from([16, 100, 2048]),
)
def test_counts_are_those_of_all_pairs(n, d, part, seed, per_cell, queries, tile):
    x, k = points(n, d, seed), max(1, round(part * n))
    marked = np.random.default_rng(seed).random(n) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "PER_CELL", per_cell)
        patch.setattr(nearest, "QUERIES", queries)
        patch.setattr(nearest, "TILE", tile)
        np.testing.assert_array_equal(count_marked_neighbors(x, marked, k), counted(x, marked, k))


def test_points_at_one_place_are_neighbors_of_each_other():
    x, marked = np.zeros((50, 3)), np.arange(50) >= 20
    found = count_marked_neighbors(x, marked, 50)
    assert (found == 30).all()
    alone = count_marked_neighbors(x, marked, 1)  # each of itself
    np.testing.assert_array_equal(alone, marked)


def test_single_precision_finds_the_same_but_for_what_it_rounds():
    x, marked = points(3000, 12, 0), np.arange(3000) % 3 > 0
    found = count_marked_neighbors(x.astype(np.float32), marked, 80)
    want = counted(x, marked, 80)
    assert np.abs(found - want).max() <= 1
    assert np.mean(found != want) < 0.01


def test_far_points_are_not_looked_at(monkeypatch):
    looked, distances = [], nearest._Search._distances

    def count(self, first, last, where):
        looked.append((last - first) * where.size)
        return distances(self, first, last, where)

    monkeypatch.setattr(nearest._Search, "_distances", count)
    monkeypatch.setattr(nearest, "PER_CELL", 100)
    monkeypatch.setattr(nearest, "TILE", 128)
    x = points(4000, 5, 1, spread=50)
    count_marked_neighbors(x, np.arange(4000) % 2 == 0, 20)
    assert sum(looked) < 4000**2 / 3


def test_counts_do_not_depend_on_threads(monkeypatch):
    found = []
    for n_threads in (1, 3):
        monkeypatch.setattr(scanpy_oom.settings, "_n_threads", n_threads)
        found.append(count_marked_neighbors(points(900, 6, 2), np.arange(900) % 2 == 0, 30))
    np.testing.assert_array_equal(*found)
