from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.embedding.layout import Forces
from scanpy_oom.kernels import layout, reference

FORCES = Forces(a=0.58, b=1.33, gamma=0.9)


def graph(n: int, seed: int, dtype=np.float32) -> sparse.csr_matrix:
    """A graph whose weights are sixteenths, so that an edge is never due a rounding error too early or too late."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.integers(0, 17, (n, n)) * (rng.random((n, n)) < 0.5), 1)
    upper[0, 1] = 16
    return sparse.csr_matrix(((upper + upper.T) / 16).astype(dtype))


def tables():
    return layout.tabulate(FORCES.attraction), layout.tabulate(FORCES.repulsion)


def looked_up(table, square: float) -> float:
    return float(layout.looked_up.py_func(table, np.float32(square)))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 9),
    dim=st.integers(1, 4),
    steps=st.integers(1, 3),
    epoch=st.integers(1, 60),
    rate=st.sampled_from([1.0, 5.0]),
    seed=st.integers(0, 2**64 - 1),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_vertices_move_as_in_the_reference(n, dim, steps, epoch, rate, seed, dtype):
    adjacency = graph(n, seed % 1000, dtype)
    positions = np.random.default_rng(seed).uniform(0, 10, (n, dim)).astype(np.float32)
    offset = steps - 1
    vertices = np.arange(offset, n, steps)
    moved = np.zeros((vertices.size, dim), dtype=np.float32)
    move = kernels.move_vertices_in_plane if dim == 2 else kernels.move_vertices
    arrays = adjacency.indptr, adjacency.indices, adjacency.data
    for part in ((0, vertices.size // 2), (vertices.size // 2, vertices.size)):
        move(arrays, positions, moved, (offset, steps, *part), (epoch, np.uint64(seed)), (0.3, rate), tables(), 1.0)
    forces = tuple(partial(looked_up, table) for table in tables())
    expected = reference.move_vertices(adjacency, positions, vertices, epoch, seed, (0.3, rate), forces)
    np.testing.assert_allclose(moved, expected.reshape(moved.shape), rtol=1e-3, atol=1e-3)


def test_moves_in_a_plane_are_those_in_two_dimensions():
    adjacency = graph(50, 1)
    positions = np.random.default_rng(1).uniform(0, 10, (50, 2)).astype(np.float32)
    found = np.empty((2, 50, 2), dtype=np.float32)
    for move, moved in zip((kernels.move_vertices, kernels.move_vertices_in_plane), found, strict=True):
        arrays = adjacency.indptr, adjacency.indices, adjacency.data
        move(arrays, positions, moved, (0, 1, 0, 50), (3, np.uint64(7)), (1.0, 5.0), tables(), 1.0)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


@given(share=st.floats(1 / 500, 1), rate=st.sampled_from([0.5, 1.0, 5.0, 7.5]))
def test_an_edge_is_used_and_draws_as_often_as_in_umap_learn(share, rate):
    n_epochs = 500
    expected = reference.uses(share, n_epochs, rate)
    found = {
        epoch: layout.draws_now.py_func(share, epoch, rate, int(share * epoch))
        for epoch in range(1, n_epochs + 1)
        if int(share * epoch) != int(share * (epoch - 1))
    }
    # a rounding error may put one off by an epoch
    assert abs(len(found) - len(expected)) <= 1
    assert abs(sum(found.values()) - sum(expected.values())) <= rate + 1


@pytest.mark.parametrize("function", [FORCES.attraction, FORCES.repulsion])
def test_tabulated_functions_are_right_to_three_parts_in_ten_thousand(function):
    squares = np.exp(np.linspace(np.log(2.0**-29), np.log(2.0**19), 10_001)).astype(np.float32)
    table = layout.tabulate(function)
    found = [layout.looked_up.py_func(table, square) for square in squares]
    np.testing.assert_allclose(found, function(squares.astype(np.float64)), rtol=3e-4)


def test_beyond_its_bins_a_table_has_the_last_values():
    table = layout.tabulate(FORCES.repulsion)
    for square, nearest in ((0.0, 2.0**-30), (1e30, 2.0**20 * (1 - 2.0**-20))):
        found = layout.looked_up.py_func(table, np.float32(square))
        np.testing.assert_allclose(found, FORCES.repulsion(np.float64(nearest)), rtol=1e-3)
