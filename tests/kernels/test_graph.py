from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.kernels import reference
from scanpy_oom.kernels.graph import PANEL

SINGLE, DOUBLE = 2.0**-24, 2.0**-53
"""Largest relative errors of one rounding."""


@st.composite
def graphs(draw: st.DrawFn, *, whole: bool = False) -> tuple[sparse.coo_matrix, float]:
    """A small graph and the least weight that counts, one that some edges have.

    It has loops, vertices without edges, zeros that are stored, negative weights, and rows in any order of columns.
    Some are symmetric, or nearly. `whole` weights are sixteenths.
    """
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stored = rng.random((n, n)) < draw(st.sampled_from([0.0, 0.1, 0.4, 1.0]))
    sixteenths = rng.integers(-1, 17, (n, n))
    weights = sixteenths / 16 * (1 if whole else rng.uniform(0.5, 1, (n, n)))
    stored[rng.random(n) < 0.2] = False
    if draw(st.booleans()):
        stored, weights = stored & stored.T, np.triu(weights) + np.triu(weights, 1).T
        weights += draw(st.sampled_from([0, 0, 1 / 16])) * (rng.random((n, n)) < 0.1)
    weights = weights.astype(draw(st.sampled_from([np.float32, np.float64])))
    rows, columns = np.nonzero(stored)
    order = np.lexsort((rng.random(rows.size), rows))
    rows, columns = rows[order].astype(np.int32), columns[order].astype(np.int32)
    positive = np.sort(weights[stored & (weights > 0)])
    least = float(positive[positive.size // 4]) if positive.size else 1.0
    return sparse.coo_matrix((weights[rows, columns], (rows, columns)), shape=(n, n)), least


def arrays(graph: sparse.coo_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets of rows, columns, weights, in the order in which they are."""
    counts = np.bincount(graph.row, minlength=graph.shape[0])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), graph.col, graph.data


def in_parts(n: int, cut: float) -> list[tuple[int, int]]:
    """Rows up to a part of them, and the others."""
    middle = int(cut * n)
    return [(0, middle), (middle, n)]


@given(graph=graphs(whole=True), tolerance=st.sampled_from([0.0, 1 / 8]))
def test_is_symmetric_is_that_of_the_reference(graph, tolerance):
    adjacency, _ = graph
    stored = np.zeros(adjacency.shape, dtype=bool)
    stored[adjacency.row, adjacency.col] = True
    weights = adjacency.toarray()
    in_order = sparse.csr_matrix(arrays(adjacency)[::-1], shape=adjacency.shape)
    in_order.sort_indices()
    # differences of sixteenths and their eighths are exact: some are just as large as the tolerance
    found = kernels.is_symmetric((in_order.indptr, in_order.indices, in_order.data), tolerance)
    assert found == reference.is_symmetric(stored, weights, tolerance)
    if tolerance == 0:
        assert found == ((stored == stored.T).all() and (weights == weights.T).all())


@given(graph=graphs())
def test_components_are_those_of_scipy_and_numbered_alike(graph):
    adjacency, least = graph
    labels = np.full(adjacency.shape[0], -7, dtype=np.int32)
    count = kernels.connected_components(arrays(adjacency), least, labels)
    want, expected = reference.connected_components(adjacency, least)
    assert count == want
    np.testing.assert_array_equal(labels, expected)


@given(n=st.integers(1, 60), part=st.floats(0, 1), seed=st.integers(0, 1000))
def test_components_of_long_paths_are_those_of_scipy(n, part, seed):
    # paths through vertices in any order, cut here and there: roots are far away, and change
    rng = np.random.default_rng(seed)
    order, kept = rng.permutation(n).astype(np.int32), rng.random(n - 1) < part
    edges = np.sort(order[:-1][kept]), order[1:][kept][np.argsort(order[:-1][kept])]
    adjacency = sparse.coo_matrix((np.ones(edges[0].size, dtype=np.float32), edges), shape=(n, n))
    labels = np.empty(n, dtype=np.int32)
    count = kernels.connected_components(arrays(adjacency), 1.0, labels)
    want, expected = reference.connected_components(adjacency, 1.0)
    assert count == want == n - kept.sum()
    np.testing.assert_array_equal(labels, expected)


@given(graph=graphs(), cut=st.floats(0, 1))
def test_degrees_equal_reference(graph, cut):
    adjacency, least = graph
    out = np.full(adjacency.shape[0], np.nan, dtype=np.float32)
    for first, last in in_parts(out.size, cut):
        kernels.degrees(arrays(adjacency), least, first, last, out)
    # Weights that count are positive. They are added up in double precision, here and in the reference in any order:
    # each sum of n is wrong by n roundings at most, and that of the kernel is rounded once to single precision.
    rtol = (SINGLE + 2 * out.size * DOUBLE) * (1 + SINGLE)
    np.testing.assert_allclose(out, reference.degrees(adjacency.toarray(), least), rtol=rtol, atol=0)


@given(
    graph=graphs(),
    coefficients=st.tuples(*[st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-4, 4, width=16)] * 3),
    part=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_chebyshev_step_equals_reference(graph, coefficients, part, seed):
    adjacency, least = graph
    n, rng = adjacency.shape[0], np.random.default_rng(seed)
    vectors, before = rng.normal(size=(2, n, PANEL)).astype(np.float32)
    rows = rng.permutation(n)[: int(part * n)].astype(np.int32)
    found = before.copy()
    kernels.chebyshev_step(arrays(adjacency), least, rows, vectors, found, coefficients)
    # the kernel has weights and coefficients in single precision: the latter are
    weights = adjacency.toarray()
    weights = np.where(weights >= least, weights, 0).astype(np.float32).astype(np.float64)
    wide = vectors.astype(np.float64), before.astype(np.float64)
    want = reference.chebyshev_step(weights, 0, *wide, coefficients)
    # In single precision the sum of n products is wrong by n roundings of its terms at most, that of their weights by
    # n - 1; then there are a quotient, a product and two sums. The two other terms are rounded less often. The same
    # roundings in double precision, those of the reference, are less than one more in single precision.
    n_roundings = 2 * n + 4
    error = n_roundings * SINGLE / (1 - n_roundings * SINGLE)
    size = reference.chebyshev_step(weights, 0, *map(np.abs, wide), np.abs(coefficients))
    assert (np.abs(found - want)[rows] <= (error * size)[rows]).all()
    others = np.setdiff1d(np.arange(n), rows)
    np.testing.assert_array_equal(found[others], before[others])


@pytest.mark.parametrize("weights", [[], [0.25, -1.0, 0.0]])
def test_a_vertex_without_edges_that_count_is_multiplied_by_nothing(weights):
    graph = np.array([0, len(weights)]), np.zeros(len(weights), dtype=np.int32), np.array(weights, dtype=np.float32)
    vectors, before = np.full((1, PANEL), 2.0, dtype=np.float32), np.full((1, PANEL), 4.0, dtype=np.float32)
    kernels.chebyshev_step(graph, 0.5, np.zeros(1, dtype=np.int32), vectors, before, (8.0, 0.5, 0.25))
    np.testing.assert_array_equal(before, np.full((1, PANEL), 2.0))


@given(n=st.integers(1, 40), seed=st.integers(0, 1000), data=st.data())
def test_sums_and_differences_of_panels_are_those_of_numpy(n, seed, data):
    random = np.random.default_rng(seed)
    weights, panel = random.random(n, dtype=np.float32), random.standard_normal((n, kernels.graph.PANEL), np.float32)
    rows = np.flatnonzero(random.random(n) < data.draw(st.floats(0, 1))).astype(np.int32)
    sums = np.ones(kernels.graph.PANEL)
    kernels.weighted_panel_sums(weights, rows, panel, sums)
    products = weights[rows, None].astype(float) * panel[rows]
    # each product of two numbers of 24 bits is exact, and each of n sums is rounded once
    bound = (rows.size + 1) * DOUBLE * (1 + abs(products).sum(axis=0))
    assert (abs(sums - 1 - products.sum(axis=0)) <= 2 * bound).all()
    expected = panel.copy()
    expected[rows] = (panel[rows] - sums).astype(np.float32)
    kernels.subtract_from_panel(rows, sums, panel)
    np.testing.assert_array_equal(panel, expected)
