from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.kernels import reference

from .strategies import blocks


@given(block=blocks(), data=st.data())
def test_select_columns_equals_reference_in_any_order_of_columns(block, data):
    chosen = data.draw(st.permutations(range(block.shape[1])))
    columns = np.array(chosen[: data.draw(st.integers(0, len(chosen)))], dtype=np.intp)
    column_map = np.full(block.shape[1], -1, dtype=np.int32)
    column_map[columns] = np.arange(columns.size)
    indptr, indices = block.indptr.astype(np.int64), block.indices.astype(np.int32)
    out_indptr, out_indices, out = np.empty_like(indptr), np.empty_like(indices), np.empty(block.nnz)
    kept = kernels.select_columns(indptr, indices, block.data, column_map, out_indptr, out_indices, out)
    got = sparse.csr_matrix((out[:kept], out_indices[:kept], out_indptr), shape=(block.shape[0], columns.size))
    np.testing.assert_array_equal(got.toarray(), reference.select_columns(block, columns).toarray())


@given(block=blocks(), data=st.data())
def test_sort_columns_equals_reference_with_columns_that_repeat(block, data):
    n_columns = block.shape[1]
    columns = data.draw(st.lists(st.integers(0, max(n_columns - 1, 0)), min_size=block.nnz, max_size=block.nnz))
    indices, values = np.array(columns, dtype=np.int32), np.arange(block.nnz, dtype=np.float64)
    shuffled = sparse.csr_matrix((values, indices, block.indptr), shape=block.shape)
    out_indices, out = np.empty_like(indices), np.empty_like(values)
    kernels.sort_columns(block.indptr.astype(np.int64), indices, values, n_columns, out_indices, out)
    want = reference.sort_columns(shuffled)
    np.testing.assert_array_equal(out_indices, want.indices)
    np.testing.assert_array_equal(out, want.data)


@given(block=blocks(), one_row=st.booleans(), n=st.integers(1, 5))
def test_look_up_equals_reference_and_reports_what_it_missed(block, one_row, n):
    table = np.random.default_rng(0).random((1 if one_row else max(block.shape[0], 1), n))
    values = block.data.astype(np.float64)
    indptr, missed = block.indptr.astype(np.int64), np.empty(values.size, dtype=np.int64)
    rows = np.repeat(np.arange(block.shape[0]), np.diff(indptr))
    want = reference.look_up(values, rows, table)
    out = np.empty_like(values)
    n_missed = kernels.look_up(indptr, block.data, table, out, missed)
    hit = (block.data >= 0) & (block.data < n) & (block.data % 1 == 0)
    np.testing.assert_array_equal(out[hit], want[hit])
    np.testing.assert_array_equal(missed[:n_missed], np.flatnonzero(~hit))


@given(
    values=st.lists(st.sampled_from([0, 1, 2, 2.5, 3, 1e12, -1, -0.0, np.nan, np.inf]), max_size=200),
    n=st.integers(1, 4),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_misses_of_a_table_are_those_of_look_up(values, n, dtype):
    values = np.array(values, dtype=dtype)
    missed = np.empty((2, values.size), dtype=np.int64)
    out, indptr = np.empty(values.size), np.array([0, values.size])
    n_missed = kernels.table_misses(values, n, missed[0])
    assert n_missed == kernels.look_up(indptr, values, np.zeros((1, n)), out, missed[1])
    np.testing.assert_array_equal(missed[0, :n_missed], missed[1, :n_missed])


def test_look_up_misses_what_is_not_a_count():
    values = np.array([np.nan, np.inf, -np.inf, -1.0, 0.5, 1e300, 2.0])
    missed = np.empty(values.size, dtype=np.int64)
    out = np.empty_like(values)
    n_missed = kernels.look_up(np.array([0, 7]), values, np.array([[10.0, 11.0, 12.0]]), out, missed)
    np.testing.assert_array_equal(missed[:n_missed], np.arange(6))
    assert out[6] == 12


@settings(max_examples=50)
@given(block=blocks(), known=st.booleans())
def test_row_totals_fill_what_is_unknown_and_leave_what_is_known(block, known):
    counted = np.arange(block.shape[1]) % 2 == 0
    totals = np.full(block.shape[0], np.nan)
    if known:
        totals[::2] = -1
    kernels.row_totals(block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data, counted, totals)
    want = block.toarray().astype(float)[:, counted].sum(axis=1)
    if known:
        want[::2] = -1
    np.testing.assert_allclose(totals, want, rtol=1e-12, atol=1e-12)


@given(data=st.data(), n=st.integers(0, 60))
def test_count_before_equals_reference(data, n):
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)) if n else st.just(set()))), dtype=np.int32)
    out = np.empty(n + 1, dtype=np.int32)
    kernels.count_before(rows, out)
    np.testing.assert_array_equal(out, reference.count_before(rows, n))


@given(
    rows=st.lists(st.sets(st.integers(0, 40) | st.integers(0, 2**31 - 1), max_size=20).map(sorted), max_size=5),
    repeats=st.booleans(),
    data=st.data(),
)
def test_is_increasing_equals_reference(rows, repeats, data):
    indptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    indices = np.array([column for row in rows for column in row], dtype=np.int32)
    assert kernels.is_increasing(indptr, indices)
    assert reference.is_increasing(indptr, indices)
    if indices.size > 1:  # a column twice, or two exchanged: within a row, or where one ends
        at = data.draw(st.integers(0, indices.size - 2))
        indices[at : at + 2] = indices[[at, at]] if repeats else indices[[at + 1, at]]
    assert kernels.is_increasing(indptr, indices) == reference.is_increasing(indptr, indices)
