from __future__ import annotations

from functools import partial

import numpy as np
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


def moves(dim: int):
    """The kernels that move vertices in so many dimensions."""
    return (kernels.move_vertices, kernels.move_vertices_in_plane) if dim == 2 else (kernels.move_vertices,)


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
    arrays = adjacency.indptr, adjacency.indices, adjacency.data
    forces = tuple(partial(looked_up, table) for table in tables())
    expected = reference.move_vertices(adjacency, positions, vertices, epoch, seed, (0.3, rate), forces)
    for move in moves(dim):
        moved = np.full((vertices.size, dim), np.nan, dtype=np.float32)
        for part in ((0, vertices.size // 2), (vertices.size // 2, vertices.size)):
            move(arrays, positions, moved, (offset, steps, *part), (epoch, np.uint64(seed)), (0.3, rate), tables(), 1.0)
        np.testing.assert_allclose(moved, expected.reshape(moved.shape), rtol=1e-3, atol=1e-3)


@settings(max_examples=50)
@given(n=st.integers(2, 9), dim=st.integers(1, 4), epoch=st.integers(1, 20), seed=st.integers(0, 2**64 - 1))
def test_vertices_move_as_in_the_reference_to_the_last_bit_where_nothing_is_rounded(n, dim, epoch, seed):
    rng = np.random.default_rng(seed)
    # Whole positions up to 7, two edges with a factor of a half, used twice, five draws of whole steps up to 4 each.
    # When the last edge is used, positions are eighths up to 59 and differences up to 66. Squares of four axes together
    # are multiples of 2**-6 up to 17,424: less than 2**24 of them, which single precision holds.
    positions = rng.integers(0, 8, (n, dim)).astype(np.float32)
    edges = np.concatenate([rng.permutation(n)[:2] for _ in range(n)]).astype(np.int32)
    ends = np.arange(0, 2 * n + 1, 2, dtype=np.int32)
    adjacency = sparse.csr_matrix((np.ones(2 * n, dtype=np.float32), edges, ends), shape=(n, n))
    factors = rng.choice([-1.0, 1.0], (2, *tables()[0].shape)).astype(np.float32)
    factors[0] /= 2
    factors[:, :, 1] = 0  # no slopes
    forces = tuple(partial(looked_up, table) for table in factors)
    expected = reference.move_vertices(adjacency, positions, np.arange(n), epoch, seed, (1.0, 5.0), forces)
    for move in moves(dim):
        moved = np.full_like(positions, np.nan)
        move(
            (ends, edges, adjacency.data),
            positions,
            moved,
            (0, 1, 0, n),
            (epoch, np.uint64(seed)),
            (1.0, 5.0),
            tuple(factors),
            1.0,
        )
        np.testing.assert_array_equal(moved, expected)


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


def right_to(p: float) -> float:
    """The part of its value that a line may be off by.

    It is that of a function f without zeros, abs(s * f' / f) <= -p and abs(s**2 * f'' / f) <= p * (p - 1), for p <= -1.

    A chord over a bin of width h is off by at most h**2 / 8 times the largest second derivative. Of a bin that begins
    at e, h is at most e / BINS. The bound on f'' is largest at e, and f falls by (1 + 1 / BINS)**p at most until the
    end. So much for lines. In single precision the value at 0, the slope, their product and their sum are rounded. The
    product is at most -p * (1 + 1 / BINS) values at e, the value at 0 one more: in all 2 - 3 * p rounding errors.
    """
    width = 1 / layout.BINS
    line = p * (p - 1) * width**2 / 8 * (1 + width) ** -p
    return line + (2 - 3 * p) * 2.0**-24 * (1 + width) ** (1 - p)


@settings(max_examples=50)
@given(a=st.floats(0.01, 100), b=st.floats(0.5, 2), seed=st.integers(0, 1000))
def test_lines_are_off_by_no_more_than_their_curvature(a, b, seed):
    # With u = a * s**b / (1 + a * s**b) and v = s / (NEAR + s), both between 0 and 1:
    # - Of attraction s * f' / f is b - 1 - b * u, between -1 and 1, and s**2 * f'' / f is
    #   (b - 1) * (b - 2) - 3 * b * (b - 1) * u + 2 * b**2 * u**2. This is convex, less than 2 at u = 0, equal to 2 at
    #   u = 1, and nowhere less than -(b - 1) * (b + 7) / 8. So p is -1.
    # - Of repulsion s * f' / f is -v - b * u, between -1 - b and 0, and s**2 * f'' / f is
    #   2 * v**2 + 2 * b * v * u + 2 * b**2 * u**2 + b * (1 - b) * u. This is convex, largest at u = v = 1, where it is
    #   (b + 1) * (b + 2), and nowhere less than -(b - 1)**2 / 8. So p is -1 - b.
    forces = Forces(a=a, b=b)
    squares = 2.0 ** np.random.default_rng(seed).uniform(layout.FIRST, layout.LAST - 0.001, 500)
    squares = squares.astype(np.float32)
    for function, p in ((forces.attraction, -1), (forces.repulsion, -1 - b)):
        table = layout.tabulate(function)
        found = [looked_up(table, square) for square in squares]
        np.testing.assert_allclose(found, function(squares.astype(np.float64)), rtol=right_to(p))


def test_beyond_its_bins_a_table_has_the_last_values():
    table = layout.tabulate(FORCES.repulsion)
    for square, nearest in ((0.0, 2.0**-30), (1e30, 2.0**20 * (1 - 2.0**-20))):
        found = layout.looked_up.py_func(table, np.float32(square))
        np.testing.assert_allclose(found, FORCES.repulsion(np.float64(nearest)), rtol=right_to(-1 - FORCES.b))
