from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom import kernels
from scanpy_oom.kernels import reference
from scanpy_oom.matrix.known_statistics import COLUMN_STATISTICS, ROW_STATISTICS

from .strategies import blocks


def arrays(block):
    return block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data.astype(np.float64)


@given(block=blocks())
def test_axis_statistics_equal_reference(block):
    rows, columns = np.empty((block.shape[0], 3)), np.zeros((block.shape[1], 4))
    kernels.axis_statistics(*arrays(block), False, rows, columns)
    want = reference.axis_statistics(block.toarray().astype(float))
    for found, names in ((rows, ROW_STATISTICS), (columns, COLUMN_STATISTICS)):
        for k, name in enumerate(names):
            np.testing.assert_allclose(found[:, k], want[name], rtol=1e-12, atol=1e-12, err_msg=name)


@given(block=blocks(), n_groups=st.integers(1, 4), seed=st.integers(0, 1000))
def test_group_moments_equal_reference_whatever_the_order_of_rows(block, n_groups, seed):
    codes = np.random.default_rng(seed).integers(-1, n_groups, block.shape[0])
    out = np.zeros((n_groups, block.shape[1], 4))
    kernels.group_moments(*arrays(block), codes, np.argsort(codes, kind="stable"), False, out)
    want = reference.group_moments(block.toarray().astype(float), codes, n_groups)
    for k in range(4):
        np.testing.assert_allclose(out[:, :, k], want[k], rtol=1e-12, atol=1e-12)


@given(block=blocks(), n_groups=st.integers(1, 4), seed=st.integers(0, 1000), single=st.booleans())
def test_group_sums_are_the_first_two_moments(block, n_groups, seed, single):
    codes = np.random.default_rng(seed).integers(-1, n_groups, block.shape[0])
    order = np.argsort(codes, kind="stable")
    moments, sums = (np.zeros((n_groups, block.shape[1], k)) for k in (4, 2))
    kernels.group_moments(*arrays(block), codes, order, single, moments)
    kernels.group_sums(*arrays(block), codes, order, single, sums)
    np.testing.assert_array_equal(sums, moments[:, :, :2])


@given(
    block=blocks(),
    n_groups=st.integers(1, 4),
    seed=st.integers(0, 1000),
    n=st.integers(1, 5),
    alike=st.tuples(st.booleans(), st.booleans()),
    single=st.booleans(),
)
def test_sums_of_what_tables_say_are_sums_of_what_was_looked_up(block, n_groups, seed, n, alike, single):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, n_groups, block.shape[0])
    order = np.argsort(codes, kind="stable")
    indptr, indices, values = arrays(block)
    tables = tuple(rng.random((1 if same else max(block.shape[0], 1), n)) for same in alike)
    missed = np.empty(values.size, dtype=np.int64)
    missed = missed[: kernels.table_misses(values, n, missed)]
    others = rng.random((2, missed.size))
    out = np.zeros((n_groups, block.shape[1], 4))
    kernels.group_table_sums(indptr, indices, values, tables, (missed, *others), single, (codes, order), out)
    for k, (table, terms) in enumerate(zip(tables, others, strict=True)):
        looked_up = np.empty_like(values)
        kernels.look_up(indptr, values, table, looked_up, np.empty(values.size, dtype=np.int64))
        looked_up[missed] = terms
        want = np.zeros((n_groups, block.shape[1], 2))
        kernels.group_sums(indptr, indices, looked_up, codes, order, single, want)
        np.testing.assert_array_equal(out[:, :, 2 * k : 2 * k + 2], want)


@given(block=blocks(), n_sets=st.integers(0, 3), seed=st.integers(0, 1000))
def test_masked_row_sums_equal_a_product_with_the_masks(block, n_sets, seed):
    member = np.random.default_rng(seed).random((block.shape[1], n_sets)) < 0.5
    out = np.empty((block.shape[0], n_sets))
    kernels.masked_row_sums(*arrays(block), member, out)
    np.testing.assert_allclose(out, block.toarray().astype(float) @ member, rtol=1e-12, atol=1e-12)


@given(block=blocks(), data=st.data())
def test_top_row_sums_equal_reference_also_with_negative_values(block, data):
    ns = np.array(sorted(data.draw(st.sets(st.integers(1, block.shape[1]), min_size=1))), dtype=np.int64)
    indptr, _, values = arrays(block)
    out = np.empty((block.shape[0], ns.size))
    kernels.top_row_sums(indptr, values, block.shape[1], ns, out)
    want = reference.top_row_sums(block.toarray().astype(float), ns)
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)


@given(block=blocks())
def test_extrema_count_fractions_and_negatives(block):
    values = block.data.astype(np.float64)
    out = np.array([np.inf, -np.inf, 0.0, 0.0])
    kernels.extrema(values, out)
    if values.size:
        assert out[0] == values.min()
        assert out[1] == values.max()
    assert out[2] == (values % 1 != 0).sum()
    assert out[3] == (values < 0).sum()


@given(block=blocks(), n_groups=st.integers(1, 3))
def test_welford_equals_mean_and_squared_deviations_of_what_is_stored(block, n_groups):
    codes = np.random.default_rng(0).integers(-1, n_groups, block.shape[0])
    shape = (n_groups, block.shape[1])
    found, mean, m2 = np.zeros((2, *shape), dtype=np.int64), np.zeros(shape), np.zeros(shape)
    kernels.group_welford(*arrays(block), codes, found, mean, m2)
    coo = block.tocoo()
    for g in range(n_groups):
        for j in range(block.shape[1]):
            x = coo.data[(codes[coo.row] == g) & (coo.col == j)].astype(np.float64)
            assert found[:, g, j].tolist() == [x.size, np.count_nonzero(x)]
            if x.size:
                np.testing.assert_allclose(mean[g, j], x.mean(), rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(m2[g, j], ((x - x.mean()) ** 2).sum(), rtol=1e-9, atol=1e-9)


def test_squares_of_single_precision_values_are_rounded_to_single_precision():
    x = np.float64(np.float32(0.1))
    out = np.zeros((1, 1, 4))
    args = (np.array([0, 1]), np.array([0], dtype=np.int32), np.array([x]), np.array([0]), np.array([0]))
    kernels.group_moments(*args, True, out)
    assert out[0, 0, 1] == np.float32(x) * np.float32(x)
    assert out[0, 0, 1] != x * x


@given(block=blocks(), n_groups=st.integers(1, 3), seed=st.integers(0, 1000))
def test_group_clipped_sums_equal_reference(block, n_groups, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, n_groups, block.shape[0])
    highest = rng.random((n_groups, block.shape[1])) * 4
    out = np.zeros((n_groups, block.shape[1], 2))
    kernels.group_clipped_sums(*arrays(block), codes, highest, out)
    want = reference.group_clipped_sums(block.toarray().astype(float), codes, highest)
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-12)
