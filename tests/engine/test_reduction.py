from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.engine.budget import LIBRARIES
from scanpy_oom.engine.column_buckets import ByBuckets
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.executor import make_pass
from scanpy_oom.engine.request import CachePolicy, Request
from scanpy_oom.kernels import reference
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.matrix.transforms.scale import Scale
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.queries.linalg.eigen import ExplicitGram, StreamedGram, leading_eigenpairs
from scanpy_oom.reductions import (
    AxisStatistics,
    ClassSums,
    Gram,
    GramProduct,
    GroupMoments,
    GroupRanks,
    GroupWelford,
    HighlyExpressed,
    LeftProduct,
    RightProduct,
    SetSums,
    TopSums,
)
from scanpy_oom.reductions.extrema import ExtremaReduction
from scanpy_oom.settings import settings as oom_settings
from scanpy_oom.storage.sources.memory import MemorySource

from ..kernels.strategies import blocks
from ..matrices import counts, dense

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@st.composite
def matrices(draw):
    """A lazy matrix and its values: counts, their logarithm, or scaled, with or without a mask; perhaps shuffled."""
    block = draw(blocks(max_rows=14, max_columns=8, negative=False))
    matrix = OOMMatrix.from_source(MemorySource(block))
    kind = draw(st.sampled_from(["counts", "log", "scaled", "masked", "not centred"]))
    n_rows, n_columns = block.shape
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    if kind != "counts":
        matrix = matrix.transform(Elementwise("log1p"))
    if kind in {"scaled", "masked", "not centred"}:
        mean, std = rng.uniform(0, 2, n_columns), rng.uniform(0.5, 2, n_columns)
        mask = rng.random(n_rows) < 0.5 if kind == "masked" else None
        mean = None if kind == "not centred" else mean
        matrix = matrix.transform(Scale(mean, std, 1.0, mask, np.dtype(float), dense=kind == "scaled"))
    if draw(st.booleans()) and n_rows:
        matrix = matrix.select(rng.integers(0, n_rows, draw(st.integers(1, 12))), None)
    if draw(st.booleans()):
        matrix = matrix.select(None, rng.permutation(n_columns)[: draw(st.integers(1, n_columns))])
    return matrix, dense(matrix).astype(np.float64)


def answer(matrix, reduction):
    return run([Request(matrix, [reduction])])[0][0]


@settings(max_examples=80)
@given(case=matrices(), data=st.data())
def test_every_reduction_equals_numpy_on_the_values(case, data):
    matrix, x = case
    n_rows, n_columns = x.shape
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 3, n_rows)
    member = rng.random((n_columns, 2)) < 0.5
    right, left = rng.random((n_columns, 3)), rng.random((n_rows, 2))
    ns = np.array(sorted(data.draw(st.sets(st.integers(1, n_columns), min_size=1))))

    known = answer(matrix, AxisStatistics()).known
    np.testing.assert_allclose(known["row_sum"], x.sum(axis=1), **CLOSE)
    np.testing.assert_array_equal(known["row_nnz"], np.count_nonzero(x, axis=1))
    np.testing.assert_array_equal(known["row_npos"], np.count_nonzero(x > 0, axis=1))
    np.testing.assert_allclose(known["col_sum"], x.sum(axis=0), **CLOSE)
    squares = x.astype(matrix.dtype) ** 2 if matrix.dtype == np.float32 else x**2
    np.testing.assert_allclose(known["col_sumsq"], squares.astype(float).sum(axis=0), **CLOSE)
    np.testing.assert_array_equal(known["col_nnz"], np.count_nonzero(x, axis=0))
    np.testing.assert_array_equal(known["col_npos"], np.count_nonzero(x > 0, axis=0))

    moments = answer(matrix, GroupMoments(codes, 3))
    welford = answer(matrix, GroupWelford(codes, 3))
    for g in range(3):
        group = x[codes == g]
        assert moments.n[g] == welford.n[g] == group.shape[0]
        np.testing.assert_allclose(moments.total[g], group.sum(axis=0), **CLOSE)
        np.testing.assert_array_equal(moments.nnz[g], np.count_nonzero(group, axis=0))
        np.testing.assert_array_equal(moments.npos[g], np.count_nonzero(group > 0, axis=0))
        if group.shape[0]:
            np.testing.assert_allclose(welford.mean[g], group.mean(axis=0), **CLOSE)
            np.testing.assert_allclose(welford.var[g], group.var(axis=0), rtol=1e-8, atol=1e-8)
        if group.shape[0] > 1:  # squares of single-precision values are rounded as in scanpy
            scale = np.abs(x).max(initial=1) ** 2
            np.testing.assert_allclose(
                moments.mean_var()[1][g], group.var(axis=0, ddof=1), rtol=1e-6, atol=1e-6 * scale
            )
    np.testing.assert_allclose(answer(matrix, SetSums(member)), x @ member, **CLOSE)
    np.testing.assert_allclose(
        answer(matrix, TopSums(ns)),
        reference.top_row_sums(x, ns) if n_rows else np.empty((0, ns.size)),
        **CLOSE,
    )
    np.testing.assert_allclose(answer(matrix, RightProduct(right, np.ones(3))), x @ right - 1, **CLOSE)
    np.testing.assert_allclose(answer(matrix, LeftProduct(left)), x.T @ left, **CLOSE)
    mean = rng.random(n_columns)
    np.testing.assert_allclose(answer(matrix, GramProduct(right, mean)), (x - mean).T @ ((x - mean) @ right), **CLOSE)
    np.testing.assert_allclose(answer(matrix, GramProduct(right, None)), x.T @ (x @ right), **CLOSE)
    if n_rows:
        extrema = answer(matrix, ExtremaReduction())
        assert (extrema.minimum, extrema.maximum) == (x.min(), x.max())
        assert extrema.all_whole == (x % 1 == 0).all()
        assert extrema.any_negative == (x < 0).any()
        gram = ExplicitGram(matrix, center=True)
        centred = x - x.mean(axis=0)
        scale = max(np.abs(x).max() ** 2 * n_rows, 1)
        np.testing.assert_allclose(gram.gram, centred.T @ centred, rtol=1e-12, atol=1e-12 * scale)
        np.testing.assert_allclose(ExplicitGram(matrix, center=False).gram, x.T @ x, rtol=1e-12, atol=1e-12 * scale)


def test_a_result_in_one_piece_has_no_parts_and_writes_no_files(tmp_path):
    reduction = AxisStatistics()
    assert reduction.n_parts(None) == 0
    for call in (lambda: reduction.part(None, 0), lambda: reduction.put_together(None, [])):
        with pytest.raises(TypeError, match="AxisStatistics is in one piece"):
            call()
    with pytest.raises(TypeError, match="AxisStatistics writes no files"):
        reduction.share(tmp_path, "name")


def test_parts_in_any_order_make_the_result(monkeypatch):
    monkeypatch.setattr(ByBuckets._prepare, "__kwdefaults__", {"bucket": 100})
    matrix = OOMMatrix.from_source(MemorySource(counts(60, 40)))
    reduction = GroupRanks(np.arange(60) % 3, 3)
    pass_ = make_pass([Request(matrix, [reduction])], CachePolicy(cache=False, reuse=False))
    ((total,),) = pass_.run()
    n = reduction.n_parts(total)
    assert n > 3
    parts = [(k, reduction.part(total, k)) for k in reversed(range(n))]
    found, want = reduction.put_together(total, parts), answer(matrix, GroupRanks(np.arange(60) % 3, 3))
    np.testing.assert_array_equal(found.sums, want.sums)
    np.testing.assert_array_equal(found.ties, want.ties)


def test_sparse_parts_and_fill_values_make_the_gram_matrix_of_a_centred_one():
    matrix = OOMMatrix.from_source(MemorySource(counts(50, 8)))
    matrix = matrix.transform(Scale(np.ones(8), np.full(8, 2.0), None, None, np.dtype(float), dense=True))
    gram, sums = run([Request(matrix, [Gram(), ClassSums()])])[0]
    sparse_part = dense(matrix) + 0.5
    np.testing.assert_allclose(gram, (sparse_part.T @ sparse_part)[np.triu_indices(8)], **CLOSE)
    np.testing.assert_allclose(sums, sparse_part.sum(axis=0, keepdims=True), **CLOSE)


def test_highly_expressed_columns_are_those_above_the_fraction_in_some_row():
    x = counts(40, 9)
    total = np.asarray(x.sum(axis=1))
    with np.errstate(invalid="ignore"):
        want = (x.toarray() > 0.4 * total).any(axis=0)
    np.testing.assert_array_equal(answer(OOMMatrix.from_source(MemorySource(x)), HighlyExpressed(0.4)), want)
    assert want.any()
    assert not want.all()


@pytest.mark.parametrize("memory_limit", [15 * 10**6, 10**9])
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_do_not_depend_on_threads_or_memory(monkeypatch, n_threads, memory_limit):
    rng = np.random.default_rng(0)
    x = counts(3000, 60, density=0.5)
    x.data = x.data * rng.random(x.nnz).astype("f4")
    matrix = OOMMatrix.from_source(MemorySource(x)).transform(Elementwise("log1p"))
    codes, right = rng.integers(0, 3, 3000), rng.random((60, 4))

    def results():
        reductions = [AxisStatistics(), GroupMoments(codes, 3), GramProduct(right, None), Gram()]
        statistics, moments, product, gram = run([Request(matrix, reductions)])[0]
        welford = answer(matrix, GroupWelford(codes, 3))
        return [
            *statistics.known.values(),
            moments.total,
            moments.total_squared,
            product,
            gram,
            welford.mean,
            welford.var,
        ]

    monkeypatch.setattr(oom_settings, "_n_threads", 3)
    want = results()
    monkeypatch.setattr(oom_settings, "_n_threads", n_threads)
    monkeypatch.setattr(oom_settings, "_memory_limit", LIBRARIES + ACCOUNTANT.in_use + memory_limit)
    for a, b in zip(results(), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_streamed_eigenpairs_equal_those_of_the_matrix_also_after_restarts():
    rng = np.random.default_rng(0)
    x = counts(400, 120, density=0.4)
    matrix = OOMMatrix.from_source(MemorySource(x))
    full = x.toarray().astype(float)
    centred = full - full.mean(axis=0)
    values, components = np.linalg.svd(centred, full_matrices=False)[1:]
    for max_basis in (0, 10**6):
        found = leading_eigenpairs(StreamedGram(matrix, full.mean(axis=0)), 6, np.random.RandomState(0), max_basis)
        np.testing.assert_allclose(found.singular_values, values[:6], rtol=1e-10)
        overlap = np.abs((found.components * components[:6]).sum(axis=1))
        np.testing.assert_allclose(overlap, 1, atol=1e-10)
    low_rank = rng.random((50, 3)) @ rng.random((3, 40))
    found = leading_eigenpairs(
        StreamedGram(OOMMatrix.from_source(MemorySource(low_rank)), None), 3, np.random.RandomState(0), 0
    )
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(low_rank)[1][:3], rtol=1e-8)
