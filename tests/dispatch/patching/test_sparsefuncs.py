"""Functions of scikit-learn and SciPy for sparse matrices take those that stay on disk."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn import preprocessing
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from sklearn.utils import check_array, sparsefuncs

import scanpy_oom
from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.settings import settings

from ...matrices import as_held, counts, dense, oom


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
    before = pass_log.totals().passes
    sparsefuncs.mean_variance_axis(x, axis=0)
    assert pass_log.totals().passes == before + 2


@pytest.mark.parametrize("function", [sparsefuncs.mean_variance_axis, sparsefuncs.min_max_axis])
def test_an_axis_that_there_is_not_is_refused_as_in_memory(function):
    with pytest.raises(ValueError, match="axis") as want:
        function(counts(60, 20), axis=2)
    with pytest.raises(ValueError, match="axis") as found:
        function(oom(counts(60, 20)), axis=2)
    assert str(found.value) == str(want.value)


JOINS = {
    "vstack": lambda x: sparse.vstack([x, x]),
    "hstack": lambda x: sparse.hstack((x, x[:, :3]), format="csc"),
    "bmat": lambda x: sparse.bmat([[x, None], [None, x]]),
    "block_array": lambda x: sparse.block_array([[x], [x]]),
    "block_diag": lambda x: sparse.block_diag([x, x]),
    "norm": lambda x: sparse.csr_matrix(sparse.linalg.norm(x, axis=1)),
    "normalize": normalize,
}


@pytest.mark.parametrize("call", JOINS.values(), ids=JOINS)
def test_what_asks_for_scipy_s_matrices_gives_what_it_gives_in_memory(call):
    x = counts(60, 20)
    got, want = call(oom(x)), call(x)
    assert type(got) is type(want)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.toarray(), want.toarray(), rtol=1e-6)


def test_what_takes_none_but_rows_says_so_as_in_memory():
    for x in (counts(60, 20).tocsc(), oom(counts(60, 20).tocsc())):
        with pytest.raises(TypeError, match="Expected CSR sparse format, got csc"):
            sparsefuncs.count_nonzero(x)


def test_a_norm_by_row_is_streamed():
    x = counts(60, 20)
    scanpy_oom.report(clear=True)
    np.testing.assert_allclose(sparse.linalg.norm(oom(x), axis=1), sparse.linalg.norm(x, axis=1), rtol=1e-6)
    assert not [call for call in scanpy_oom.report().calls if call.how == "materialised"]


def test_joins_above_the_memory_limit_are_refused(monkeypatch):
    monkeypatch.setattr(settings, "_memory_limit", 1000)
    with pytest.raises(MemoryBudgetExceeded, match="vstack"):
        sparse.vstack([oom(counts(60, 20))] * 2)


def test_estimators_get_sparse_values_where_they_take_them():
    x = counts(60, 20)
    assert sparse.issparse(check_array(array=oom(x), accept_sparse="csr"))
    with pytest.raises(TypeError, match="dense data is required"):
        check_array(oom(x))
    assert isinstance(check_array(oom(x.toarray())), np.ndarray)
    want, got = (KMeans(3, n_init=1, random_state=0).fit_predict(m) for m in (x, oom(x)))
    np.testing.assert_array_equal(got, want)


def test_disabling_gives_scipy_its_functions_back():
    wrapped = sparse.vstack, sparse.csr_matrix.__matmul__, sparse.csr_matrix.__mul__
    scanpy_oom.disable()
    plain = sparse.vstack, sparse.csr_matrix.__matmul__, sparse.csr_matrix.__mul__
    scanpy_oom.enable()
    assert all(hasattr(one, "__wrapped__") for one in wrapped)
    assert not any(hasattr(one, "__wrapped__") for one in plain)


IN_PLACE = {
    "normalize": lambda x: preprocessing.normalize(x, copy=False),
    "scale": lambda x: preprocessing.scale(x, with_mean=False, copy=False),
    "maxabs_scale": lambda x: preprocessing.maxabs_scale(x, copy=False),
    "binarize": lambda x: preprocessing.binarize(x, threshold=1, copy=False),
    "inplace_column_scale": lambda x: sparsefuncs.inplace_column_scale(x, np.arange(x.shape[1]) / 2),
    "inplace_row_scale": lambda x: sparsefuncs.inplace_row_scale(x, np.arange(x.shape[0]) / 2),
    "inplace_swap_row": lambda x: sparsefuncs.inplace_swap_row(x, 0, 5),
}


@pytest.mark.parametrize("form", as_held)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_what_works_in_place_does_so(name, dtype, form):
    memory = as_held[form](counts(20, 9, dtype=dtype, density=0.5))
    lazy = oom(memory)
    results, errors = [], []
    for x in (memory, lazy):
        try:
            results.append(IN_PLACE[name](x) is x)
        except (TypeError, ValueError) as error:
            errors.append(type(error))
    assert len(set(results)) < 2
    assert len(errors) in {0, 2}
    np.testing.assert_allclose(dense(lazy), dense(memory), rtol=1e-6)
    assert lazy.dtype == memory.dtype


def test_what_does_not_fit_says_so_to_who_makes_a_matrix_of_it(monkeypatch):
    lazy = oom(counts(400, 300).toarray())
    monkeypatch.setattr(settings, "_memory_limit", 10_000)
    with pytest.raises(MemoryBudgetExceeded):
        sparse.csr_matrix(lazy)
    with pytest.raises(ValueError, match="does not support dtype object"):
        sparse.csr_matrix(object())
