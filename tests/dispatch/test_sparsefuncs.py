"""Helpers of scikit-learn for sparse matrices take those that stay on disk."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils import sparsefuncs

from scanpy_oom.passes import record

from ..matrices import counts, oom


def weights(x):
    return np.arange(60, dtype=x.dtype if x.dtype.kind == "f" else float)


CALLS = {
    "means of columns": lambda x: sparsefuncs.mean_variance_axis(x, axis=0),
    "means of rows": lambda x: sparsefuncs.mean_variance_axis(x, 1),
    "weighted means": lambda x: sparsefuncs.mean_variance_axis(
        x, axis=0, weights=np.arange(60, dtype=x.dtype if x.dtype.kind == "f" else float)
    ),
    "extrema of columns": lambda x: sparsefuncs.min_max_axis(x, axis=0),
    "extrema of rows": lambda x: sparsefuncs.min_max_axis(x, 1),
    "extrema but NaN": lambda x: sparsefuncs.min_max_axis(x, axis=0, ignore_nan=True),
    "number": lambda x: sparsefuncs.count_nonzero(x),
    "numbers by column": lambda x: sparsefuncs.count_nonzero(x, axis=0),
    "numbers by row": lambda x: sparsefuncs.count_nonzero(x, axis=1),
    "weighted numbers": lambda x: sparsefuncs.count_nonzero(x, axis=0, sample_weight=np.arange(60)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_are_those_in_memory(call, dtype):
    x = counts(60, 20, dtype=dtype)
    want, found = call(x), call(oom(x))
    assert isinstance(found, tuple) == isinstance(want, tuple)
    for one, other in zip(np.atleast_2d(want), np.atleast_2d(found), strict=True):
        assert other.dtype == one.dtype
        np.testing.assert_allclose(other, one, rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-12)


def test_nan_are_left_out_as_in_memory():
    x = counts(60, 20)
    x.data[::7] = np.nan
    want, found = (sparsefuncs.mean_variance_axis(m, axis=0) for m in (x, oom(x)))
    np.testing.assert_array_equal(found, want)


def test_means_take_one_pass_and_variances_another():
    x = oom(counts(60, 20))
    before = record.totals().passes
    sparsefuncs.mean_variance_axis(x, axis=0)
    assert record.totals().passes == before + 2


@pytest.mark.parametrize("function", [sparsefuncs.mean_variance_axis, sparsefuncs.min_max_axis])
def test_an_axis_that_there_is_not_is_refused_as_in_memory(function):
    with pytest.raises(ValueError, match="axis") as want:
        function(counts(60, 20), axis=2)
    with pytest.raises(ValueError, match="axis") as found:
        function(oom(counts(60, 20)), axis=2)
    assert str(found.value) == str(want.value)
