from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy
from packaging.version import Version
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ...comparison import ERRORS
from ...matrices import counts, dense, oom


@pytest.fixture(params=["float32", "float64", "int32", "int64", "uint8", "bool", "float16"])
def both(request):
    # SciPy computes nothing in half precision
    half = request.param == "float16"
    x = counts(20, 9).toarray().astype("float16") if half else counts(20, 9, dtype=request.param)
    return x, oom(x)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_sums_and_means_have_memory_s_values_dtype_and_shape(both, name, axis):
    x, lazy = both
    want, got = getattr(x, name)(axis=axis), getattr(lazy, name)(axis=axis)
    assert type(got) is type(want) or axis is None
    assert np.asarray(got).dtype == np.asarray(want).dtype
    np.testing.assert_allclose(got, want, rtol=2e-3 if x.dtype == np.float16 else 1e-6)


def test_extremes_and_counts_equal_memory(both):
    x, lazy = both
    assert lazy.max() == dense(x).max()
    assert lazy.min() == dense(x).min()
    assert lazy.count_nonzero() == np.count_nonzero(dense(x))
    np.testing.assert_array_equal(lazy.getnnz(axis=0), np.count_nonzero(dense(x), axis=0))
    if sparse.issparse(x):
        assert lazy.nnz == x.nnz
    for axis in (0, 1):
        np.testing.assert_array_equal(np.ravel(dense(lazy.max(axis=axis))), dense(x).max(axis=axis))
        np.testing.assert_array_equal(np.ravel(dense(lazy.min(axis=axis))), dense(x).min(axis=axis))


@pytest.mark.parametrize("ufunc", [np.log1p, np.expm1, np.sqrt, np.abs, np.sign])
def test_ufuncs_are_lazy_and_equal_numpy_to_the_last_bit(ufunc):
    x = counts(20, 9)
    got = ufunc(oom(x))
    assert isinstance(got, OOMMatrix)
    np.testing.assert_array_equal(dense(got), ufunc(x.toarray()))
    assert got.dtype == ufunc(x.toarray()).dtype


LAYOUTS = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csr_matrix.toarray]


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "call",
    [
        np.square,
        lambda x: x**2,
        lambda x: (x > 1) ** 2,
        lambda x: x[:, :4] ** 2,
        lambda x: np.square(x[:, :4]),
        lambda x: np.float32(3) == x,
        lambda x: np.int64(3) != x,
        lambda x: x == None,  # noqa: E711
        lambda x: x != None,  # noqa: E711
        lambda x: x.astype(complex),
        lambda x: x.astype("float16"),
        lambda x: x.astype(">f4"),
        lambda x: np.sqrt(x > 1),
        lambda x: -(x > 1),
        lambda x: x.transpose((1, 0)),
        lambda x: x.transpose(1, 0),
        lambda x: x.transpose(0, 1),
        lambda x: x.transpose((0, 1)),
        lambda x: np.transpose(x, (0, 1)),
        lambda x: x.sum(axis=2),
        lambda x: x[:, :0].mean(axis=None),
        lambda x: x.max(axis=-3),
        lambda x: np.log1p(x).sum(axis=0, dtype=int),
        lambda x: np.log1p(x).sum(axis=1, dtype="int16"),
        pytest.param(
            lambda x: np.log1p(x).sum(dtype="uint8"),
            marks=pytest.mark.skipif(Version(scipy.__version__) < Version("1.17"), reason="SciPy cuts off each value"),
        ),
        lambda x: x.item(),
        lambda x: x == sparse.csr_matrix((2, 3)),
        lambda x: x > sparse.csr_matrix(np.arange(9)),
        lambda x: np.array(2) @ x,
        lambda x: x @ None,
        lambda x: x[:, :0] @ x[:, :0].T,
        lambda x: x[:, :0] @ np.ones((0, 0)),
        lambda x: np.cos(x > 1),
        lambda x: x[:0].astype("float64").max(axis=1, explicit=True),
        lambda x: x.max(axis=1, explicit=True),
        lambda x: x @ np.array(2),
        lambda x: x[None],
        lambda x: x[True],
        lambda x: x[0, None],
    ],
)
def test_the_kind_of_matrix_decides_as_in_memory(layout, call):
    x = layout(counts(9, 9))
    try:
        want = call(x)
    except ERRORS as error:
        with pytest.raises(type(error)):
            call(oom(x))
        return
    got = call(oom(x))
    values = got.to_memory() if isinstance(got, OOMMatrix) else got
    assert type(values) is type(want)
    assert getattr(values, "dtype", None) == getattr(want, "dtype", None)
    np.testing.assert_array_equal(dense(values), dense(want))


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("to", ["int32", "int64", "uint8", "int8"])
@pytest.mark.parametrize("of", ["float16", "float32", "float64"])
def test_what_no_integer_holds_becomes_what_numpy_makes_of_it(of, to):
    x = np.array([[np.nan, np.inf, -np.inf, 3e4], [-1.5, 300, 0, -2e4]], of)
    np.testing.assert_array_equal(dense(oom(x).astype(to)), x.astype(to))


@pytest.mark.parametrize("dtype", [">f4", ">i4"])
def test_a_cast_to_the_type_itself_brings_the_byte_order_of_the_machine(dtype):
    x = counts(9, 9).toarray().astype(dtype)
    got = oom(x).astype(np.dtype(dtype).newbyteorder("="))
    assert got.to_memory().dtype.isnative
    assert not oom(x).astype(dtype).to_memory().dtype.isnative


@pytest.mark.parametrize(
    "compare",
    [
        lambda x: x > 1,
        lambda x: x < 1,
        lambda x: x >= 2,
        lambda x: x <= 2,
        lambda x: x != 0,
        lambda x: x == 3,
        lambda x: x > 2,
    ],
)
def test_comparisons_are_lazy_booleans_zeros_included(compare):
    x = counts(20, 9)
    got = compare(oom(x))
    assert got.dtype == bool
    np.testing.assert_array_equal(dense(got), compare(x.toarray()))
    np.testing.assert_array_equal(np.ravel(got.sum(axis=0)), compare(x.toarray()).sum(axis=0))


def test_factors_by_number_row_and_column_equal_memory():
    x = counts(20, 9)
    rows, columns = np.linspace(1, 2, 20)[:, None], np.linspace(1, 2, 9)
    lazy, full = oom(x), x.toarray()
    for got, want in [
        (lazy * 2, full * 2),
        (3 * lazy, full * 3),
        (lazy / 4, full.astype(float) / 4),
        (lazy.power(2), full**2),
        (lazy.multiply(rows), full * rows),
        (lazy / rows, full / rows),
        (lazy.multiply(columns), full * columns),
        (
            lazy.multiply(1e4 / np.asarray(x.sum(axis=1) + 1)).tocsr(),
            full * (1e4 / (full.sum(axis=1, keepdims=True) + 1)),
        ),
    ]:
        assert isinstance(got, OOMMatrix)
        np.testing.assert_allclose(dense(got), want, rtol=1e-6)
        assert got.dtype == want.dtype
    with pytest.raises(ValueError, match="shape mismatch"):
        lazy.multiply(np.ones((20, 8)))
    with pytest.raises(TypeError, match=r"X\.power"):
        lazy**2


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "bool"])
def test_astype_equals_memory(both, dtype):
    x, lazy = both
    got = lazy.astype(dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(dense(got), dense(x.astype(dtype)))


def test_products_from_both_sides_equal_memory(both):
    x, lazy = both
    right, left = np.random.default_rng(0).random((9, 3)), np.random.default_rng(1).random((20, 2))
    full = dense(x).astype(float)
    np.testing.assert_allclose(lazy @ right, full @ right, rtol=1e-12)
    np.testing.assert_allclose(lazy @ right[:, 0], full @ right[:, 0], rtol=1e-12)
    np.testing.assert_allclose(dense(lazy.dot(sparse.csr_matrix(right))), full @ right, rtol=1e-12)
    np.testing.assert_allclose(lazy.T @ left, full.T @ left, rtol=1e-12)
    np.testing.assert_allclose(left.T @ lazy, left.T @ full, rtol=1e-12)
    np.testing.assert_array_equal(dense(lazy.T), dense(x).T)
    with pytest.raises(ValueError, match="do not fit"):
        lazy @ left
    with pytest.raises(ValueError, match="do not fit"):
        lazy.T @ right


@pytest.mark.parametrize("factor", [0.1, np.float64(0.1), np.float32(0.1), 3, np.array(0.1)], ids=repr)
def test_the_type_of_a_factor_counts_as_in_numpy(factor):
    x = np.log1p(counts(20, 9).toarray())
    got = oom(x) * factor
    assert got.dtype == (x * factor).dtype
    np.testing.assert_array_equal(dense(got), x * factor)
    np.testing.assert_array_equal(dense(oom(x) / factor), x / factor)
    got, want = oom(sparse.csr_matrix(x)) / factor, sparse.csr_matrix(x) / factor  # SciPy multiplies by the inverse
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(dense(got), dense(want))


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_by_rows_is_by_rows(layout):
    x = layout(counts(20, 9))
    lazy = oom(x).tocsr()
    assert isinstance(lazy, OOMMatrix)
    assert type(lazy.to_memory()) is sparse.csr_matrix
    np.testing.assert_array_equal(lazy.indptr, x.tocsr().indptr)
    np.testing.assert_array_equal(lazy.indices, x.tocsr().indices)
    np.testing.assert_array_equal(dense(lazy[3:7]), dense(x[3:7]))
    assert type(oom(x).getrow(3)) is type(x.getrow(3))


def test_the_transposed_by_rows_tells_of_columns():
    x = counts(20, 9)
    lazy = oom(x).T.tocsr()
    np.testing.assert_array_equal(lazy.indptr, x.T.tocsr().indptr)
    np.testing.assert_array_equal(lazy.data, x.T.tocsr().data)
    np.testing.assert_array_equal(dense(lazy[2]), dense(x.T.tocsr()[2]))
    np.testing.assert_allclose(lazy @ np.ones(20), x.T @ np.ones(20))


def test_by_columns_is_itself_where_it_is_held_so():
    lazy = oom(counts(20, 9).tocsc())
    assert lazy.tocsc() is lazy


@pytest.mark.parametrize("decimals", [0, 1])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csr_matrix.toarray])
def test_rounding_keeps_dtype_and_sparsity(layout, decimals):
    x = layout(counts(20, 9).multiply(np.float32(0.37)).tocsr())
    got = np.round(oom(x), decimals)
    assert isinstance(got, OOMMatrix) == (decimals == 0)
    assert got.dtype == x.dtype
    assert sparse.issparse(got.to_memory() if decimals == 0 else got) == sparse.issparse(x)
    np.testing.assert_array_equal(dense(got), dense(x).round(decimals))


def test_matrices_are_made_without_a_warning():
    lazy = oom(counts(20, 9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(isinstance(m, np.matrix) for m in (lazy.sum(axis=0), lazy.todense(), lazy @ lazy[:9].todense().T))
