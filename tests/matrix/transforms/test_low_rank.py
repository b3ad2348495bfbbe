from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scanpy_oom
from scanpy_oom.matrix.transforms import ByRow, Elementwise
from scanpy_oom.matrix.transforms.low_rank import Combine, LowRank
from scanpy_oom.matrix.transforms.scale import Scale

from ...matrices import counts, dense, oom
from .ways import DTYPES, all_stored, assert_ways_agree

DOUBLE = np.dtype(np.float64)


def residual(x, *, codes: bool = False):
    """A matrix less one of low rank, and the same in memory."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, x.shape[0]) if codes else rng.normal(size=(x.shape[0], 3))
    columns = rng.normal(size=(3, x.shape[1]))
    operand = LowRank(rows, columns)
    lazy = oom(x).transform(Elementwise("log1p")).transform(Combine("subtract", operand, DOUBLE, "less"))
    return lazy, np.log1p(dense(x)).astype(np.float64) - (columns[rows] if codes else rows @ columns)


@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize("x", [counts(700, 30), counts(1, 1), counts(40, 1), counts(1, 40)], ids=lambda x: str(x.shape))
def test_values_sums_and_products_are_those_of_the_dense_matrix(x, codes):
    lazy, want = residual(x, codes=codes)
    assert lazy.is_dense
    assert lazy.chain.fill_values is None
    np.testing.assert_allclose(dense(lazy), want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(lazy.sum(axis=0), want.sum(axis=0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(lazy.sum(axis=1), want.sum(axis=1), rtol=1e-10, atol=1e-10)
    right, left = np.arange(2.0 * x.shape[1]).reshape(-1, 2), np.arange(2.0 * x.shape[0]).reshape(-1, 2)
    np.testing.assert_allclose(lazy @ right, want @ right, rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(lazy.T @ left, want.T @ left, rtol=1e-10, atol=1e-8)
    assert lazy.nnz == np.count_nonzero(want)
    assert lazy.max() == pytest.approx(want.max())


def test_a_subset_takes_the_factors_along():
    lazy, want = residual(counts(60, 20))
    rows, columns = np.array([5, 3, 3, 59, 0]), np.array([19, 0, 7])
    np.testing.assert_allclose(dense(lazy.select(rows, columns)), want[rows][:, columns], rtol=1e-12, atol=1e-12)


def test_steps_before_and_after_apply_in_their_order():
    x = counts(80, 20)
    lazy, _ = residual(x)
    mean, std = np.linspace(-1, 1, 20), np.linspace(1, 2, 20)
    mask = np.arange(80) % 3 == 0
    scale = Scale(mean=mean, std=std, max_value=1.0, mask=mask, dtype=DOUBLE, dense=True)
    before = oom(x).transform(scale).transform(lazy.chain.transforms[1])
    after = lazy.transform(scale).transform(ByRow("multiply", np.arange(80.0), DOUBLE))
    operand = lazy.chain.transforms[1].operand.at(slice(None))

    def scaled(values):
        return np.where(mask[:, None], np.clip((values - mean) / std, -1, 1), values)

    np.testing.assert_allclose(dense(before), scaled(dense(x).astype(float)) - operand, rtol=1e-12, atol=1e-12)
    want = scaled(np.log1p(dense(x)).astype(float) - operand) * np.arange(80.0)[:, None]
    np.testing.assert_allclose(dense(after), want, rtol=1e-12, atol=1e-12)


def test_results_do_not_depend_on_threads_or_memory(monkeypatch):
    lazy, _ = residual(counts(3000, 40))
    found = []
    for n_threads, limit in ((1, "2GB"), (2, "2GB"), (2, "200MB")):
        monkeypatch.setattr(scanpy_oom.settings, "n_threads", n_threads)
        monkeypatch.setattr(scanpy_oom.settings, "memory_limit", limit)
        matrix = pickle.loads(pickle.dumps(lazy))
        found.append((matrix.toarray(), matrix.sum(axis=0), matrix @ np.ones((40, 2))))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@given(
    x=all_stored(),
    ufunc=st.sampled_from(["subtract", "multiply", "divide"]),
    codes=st.booleans(),
    reflected=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 100),
)
def test_ways_agree(x, ufunc, codes, reflected, dtype, seed):
    rng, (n_rows, n_columns) = np.random.default_rng(seed), x.shape
    rows = rng.integers(0, 2, n_rows) if codes else rng.uniform(1, 2, (n_rows, 2))
    operand = LowRank(rows, rng.uniform(1, 2, (2, n_columns)))
    assert_ways_agree(x, Combine(ufunc, operand, dtype, "x", reflected), exact=codes)
