"""Products of SciPy's matrices with one that stays on disk are sparse, as in memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ...matrices import counts, dense, oom

LEFT = {
    "few rows": sparse.random(3, 60, 0.3, format="csr", random_state=0),
    "graph": sparse.random(60, 60, 0.2, format="csr", random_state=0),
    "csc": sparse.random(60, 60, 0.2, format="csc", random_state=0),
    "band": sparse.diags([np.ones(60), np.ones(59)], [0, 1]),
    "array": sparse.csr_array(sparse.random(3, 60, 0.3, random_state=0)),
}
PRODUCTS = {"@": lambda s, x: s @ x, "*": lambda s, x: s * x, "dot": lambda s, x: s.dot(x)}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("name", LEFT)
def test_of_a_sparse_one_is_sparse(name, product):
    x, left = counts(60, 20), LEFT[name]
    if name == "array" and product is PRODUCTS["*"]:
        pytest.skip("by element")
    got, want = product(left, oom(x)), product(left, x)
    assert sparse.issparse(got)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.toarray(), want.toarray(), rtol=1e-6)


@pytest.mark.parametrize("make", [sparse.diags, sparse.diags_array])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_of_a_diagonal_one_is_lazy(make, layout):
    x = layout(counts(60, 20))
    rows, columns = make(np.arange(60.0)), make(np.arange(20, dtype=np.float32))
    for call in (lambda x: rows @ x, lambda x: x @ columns, lambda x: x.dot(columns)):
        got, want = call(oom(x)), call(x)
        assert isinstance(got, OOMMatrix)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(dense(got), dense(want))


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="mismatch"):
        sparse.diags(np.ones(5)) @ oom(counts(60, 20))


@pytest.mark.parametrize("call", [lambda s, x: s + x, lambda s, x: s - x, lambda s, x: s > x, lambda s, x: x + s])
def test_a_sparse_one_with_a_dense_one_gives_what_scipy_gives(call):
    x, other = counts(60, 20).toarray(), counts(60, 20, seed=1)
    got, want = call(other, oom(x)), call(other, x)
    assert type(got) is type(want)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csr_matrix.toarray])
@pytest.mark.parametrize("undefined", [np.nan, np.inf, -np.inf])
def test_zeros_of_a_dense_one_with_what_is_not_finite_are_no_number_as_in_memory(layout, undefined):
    x, right, left = layout(counts(60, 20)), np.ones((20, 3)), np.ones((2, 60))
    right[4, 1] = left[1, 7] = undefined
    for got, want in [(oom(x) @ right, x @ right), (oom(x) @ right[:, 1], x @ right[:, 1]), (left @ oom(x), left @ x)]:
        np.testing.assert_array_equal(got, want)
