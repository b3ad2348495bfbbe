"""What scripts do to `adata.X` gives what it gives in memory: any selection, any chain of steps, any operation."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ..matrices import counts, dense, oom, pair
from ..overrides.pp.strategies import expression

STEPS = {
    "scaled": lambda x: x.multiply(3) if sparse_like(x) else x * 3,
    "halved": lambda x: x / 2,
    "by rows": lambda x: times(x, np.linspace(1, 2, x.shape[0])[:, None]),
    "by columns": lambda x: times(x, np.linspace(1, 2, x.shape[1])[None, :]),
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "abs": abs,
    "single": lambda x: x.astype(np.float32),
    "double": lambda x: x.astype(np.float64),
    "positive": lambda x: (x > 0).astype(np.float32),
}
"""Lazy steps that a script may take one after the other."""

OPERATIONS = {
    "sum": lambda x: [x.sum(axis) for axis in (None, 0, 1, -1)],
    "mean": lambda x: [x.mean(axis) for axis in (None, 0, 1)],
    "max": lambda x: [x.max(axis) for axis in (None, 0, 1)],
    "min": lambda x: [x.min(axis) for axis in (None, 0, 1)],
    "nonzero": lambda x: [(x != 0).sum(axis) for axis in (None, 0, 1)],
    "above one": lambda x: [(x > 1).sum(axis) for axis in (None, 0, 1)],
    "at least one": lambda x: [(x >= 1).mean(axis) for axis in (None, 0, 1)],
    "expm1": np.expm1,
    "square": lambda x: np.square(x) if not sparse_like(x) else x.power(2),
    "product": lambda x: x @ np.arange(2.0 * x.shape[1]).reshape(-1, 2),
    "product with a vector": lambda x: x.dot(np.arange(1.0 * x.shape[1])),
    "product of the transposed": lambda x: x.T @ np.arange(2.0 * x.shape[0]).reshape(-1, 2),
    "transposed": lambda x: x.T,
    "transposed and summed": lambda x: x.T.sum(axis=0),
    "rows": lambda x: [dense(row) for row in x],
    "a row": lambda x: x[-1],
    "a column": lambda x: x[:, [0]],
    "backwards": lambda x: x[::-1, ::-2],
    "a number": lambda x: x[0, -1],
    "a mask": lambda x: x[np.arange(x.shape[0]) % 2 == 0],
    "copy": lambda x: x.copy(),
}


def sparse_like(x) -> bool:
    return sparse.issparse(x) or (isinstance(x, OOMMatrix) and not x.is_dense)


def times(x, factors):
    return x.multiply(factors).tocsr() if sparse_like(x) else x * factors


def assert_close(want, got) -> None:
    if isinstance(want, list):
        for a, b in zip(want, got, strict=True):
            assert_close(a, b)
        return
    want, got = (np.asarray(dense(values), dtype=float) for values in (want, got))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * np.abs(want).max(initial=0))


@st.composite
def both(draw):
    """A matrix in memory and out of memory, some of its rows and columns in some order, after some steps."""
    memory = draw(expression(dtypes=("float32", "float64", "int32"), formats=("csr", "dense"), huge=False))
    lazy = oom(memory)
    for name in draw(st.lists(st.sampled_from(["select", *STEPS]), max_size=4)):
        if name == "select":
            rows, columns = (np.array(draw(st.lists(st.integers(0, n - 1), min_size=1))) for n in memory.shape)
            memory, lazy = memory[rows][:, columns], lazy.select(rows, columns)
        else:
            with np.errstate(all="ignore"):
                memory, lazy = STEPS[name](memory), STEPS[name](lazy)
    return memory, lazy


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@settings(max_examples=15)
@given(pair=both())
def test_an_operation_gives_what_it_gives_in_memory(operation, pair):
    memory, lazy = pair
    with np.errstate(all="ignore"):
        try:
            want = operation(memory)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)):
                operation(lazy)
            return
        assert_close(want, operation(lazy))


@settings(max_examples=25)
@given(pair=both())
def test_what_is_stored_is_what_scipy_stores(pair):
    memory, lazy = pair
    if not sparse.issparse(memory):
        return
    memory = memory.tocsr()
    memory.sum_duplicates()
    assert lazy.nnz == lazy.getnnz() == memory.count_nonzero() or lazy.nnz == memory.nnz
    found = sparse.csr_matrix((lazy.data, lazy.indices, lazy.indptr), shape=lazy.shape)
    assert_close(memory, found)
    assert_close(memory, lazy.tocsc())
    assert_close(memory, lazy.todense())


@pytest.mark.filterwarnings(
    "ignore"
)  # anndata says that the view becomes an object of its own, and that it always will
@pytest.mark.skipif(not hasattr(ad.settings, "copy_on_write_X"), reason="a setting of later versions of anndata")
@pytest.mark.parametrize("change", [lambda x: x * 2, lambda x: x.to_memory() * 2, lambda x: np.ones(x.shape)])
def test_a_view_gets_another_x_where_anndata_copies_on_write(change):
    _, lazy = pair(counts(20, 9))
    before, view = lazy.X._state, lazy[::2]
    with ad.settings.override(copy_on_write_X=True):
        view.X = change(view.X)
    assert not view.is_view
    assert lazy.X._state is before
    np.testing.assert_array_equal(dense(view.X), dense(change(lazy[::2].X)))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_statistics_of_fast_array_utils_are_streamed(axis):
    stats = pytest.importorskip("fast_array_utils.stats")
    x = sparse.random(30, 8, 0.4, format="csr", random_state=0, dtype=np.float32)
    for name in ("sum", "mean", "min", "max", "mean_var"):
        function = getattr(stats, name)
        want, got = function(x.toarray(), axis=axis), function(oom(x), axis=axis)  # of CSR some leave out zeros
        assert_close(*(list(v) if isinstance(v, tuple) else v for v in (want, got)))


@pytest.mark.parametrize("order", ["K", "C", "F"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_matrix.toarray])
def test_fast_array_utils_makes_it_dense_as_in_memory(layout, order):
    conv = pytest.importorskip("fast_array_utils.conv")
    x = layout(sparse.random(30, 8, 0.4, format="csr", random_state=0, dtype=np.float32))
    got, want = conv.to_dense(oom(x), order=order), conv.to_dense(x, order=order)
    assert got.flags.c_contiguous == want.flags.c_contiguous
    np.testing.assert_array_equal(got, want)
