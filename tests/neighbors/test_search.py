"""The closest candidates: whatever the products are rounded to, what is found are the closest in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.neighbors import search
from scanpy_oom.neighbors.points import scale_of
from scanpy_oom.neighbors.search import ClosestSoFar, in_quiet_threads

from .points import clustered, true_neighbors


def closest(x: np.ndarray, rows: np.ndarray, k: int, order: np.ndarray, cut: int) -> ClosestSoFar:
    """Let candidates come in an order, in parts."""
    found = ClosestSoFar(x[rows], rows.astype(np.int32), k, scale_of(x))
    for part in np.split(order, [cut]):
        names = np.sort(part)
        if names.size:
            found.look_at(x[names], names.astype(np.int32))
    return found


@settings(max_examples=60)
@given(
    n=st.integers(2, 300),
    d=st.integers(1, 9),
    k=st.integers(1, 20),
    seed=st.integers(0, 1000),
    offset=st.sampled_from([0, 1e3, 1e6]),
    unit=st.sampled_from([1, 1e-18, 1e18]),
    levels=st.sampled_from([2, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    tile=st.sampled_from([16, 48, 1024]),
)
def test_what_is_found_are_the_closest_in_order(n, d, k, seed, offset, unit, levels, dtype, tile):
    rng = np.random.default_rng(seed)
    k = min(k, n)
    # few levels: many points at one place, and many at one distance
    x = ((rng.integers(0, levels, (n, d)) / levels + offset) * unit).astype(dtype)
    rows = np.sort(rng.permutation(n)[: min(n, 20)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "TILE", tile)
        found = closest(x, rows, k, rng.permutation(n), int(rng.integers(0, n)))
    np.testing.assert_array_equal(found.found[:, 0], rows)
    for place, row in enumerate(rows):
        squares = exact(x, row)
        squares[row] = -1
        np.testing.assert_array_equal(found.found[place], np.argsort(squares, kind="stable")[:k])
        np.testing.assert_array_equal(found.squares[place], np.sort(squares)[:k])


def exact(x: np.ndarray, row: int) -> np.ndarray:
    """Squared distances in the order of summation that is promised: four sums, then these."""
    squares = (x.astype(np.float64) - x[row].astype(np.float64)) ** 2
    whole = squares.shape[1] - squares.shape[1] % 4
    sums = np.zeros((4, len(x)))
    for j in range(squares.shape[1]):
        sums[j % 4 if j < whole else 0] += squares[:, j]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


def test_rounding_of_the_products_changes_nothing(monkeypatch):
    x, rows = clustered(3000), np.arange(0, 3000, 7)
    want = closest(x, rows, 15, np.arange(3000), 0)
    bound = ClosestSoFar._bound
    rng = np.random.default_rng(0)

    def rounded_otherwise(self, candidates, where):
        bounds = bound(self, candidates, where)
        # as much as single precision may be wrong by
        error = 50 * 2.0**-24 * (self._lows[where].max() + self._tile_lows[: len(candidates)].max())
        bounds += rng.uniform(-error, error, bounds.shape).astype(np.float32)
        return bounds

    monkeypatch.setattr(ClosestSoFar, "_bound", rounded_otherwise)
    found = closest(x, rows, 15, np.arange(3000), 1000)
    np.testing.assert_array_equal(found.found, want.found)
    np.testing.assert_array_equal(found.squares, want.squares)
    np.testing.assert_array_equal(want.found, true_neighbors(x, rows, 15))


def test_points_that_have_their_fill_of_duplicates_look_at_no_more(monkeypatch):
    x = np.zeros((5000, 4), dtype=np.float32)
    looked_at = []
    bound = ClosestSoFar._bound
    monkeypatch.setattr(
        ClosestSoFar, "_bound", lambda self, some, rows: looked_at.append(len(some)) or bound(self, some, rows)
    )
    found = closest(x, np.arange(1, 9), 5, np.arange(5000), 0)
    np.testing.assert_array_equal(found.found, [[row, *[i for i in range(6) if i != row][:4]] for row in range(1, 9)])
    assert sum(looked_at) < 2000


def test_work_in_quiet_threads_comes_back_in_order_and_its_errors_too():
    assert in_quiet_threads(lambda task: task * 2, range(50)) == list(range(0, 100, 2))
    with pytest.raises(ZeroDivisionError):
        in_quiet_threads(lambda task: 1 // task, [1, 0, 2])
