from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.matrix.transforms import ByColumn, ByRow, Elementwise

from ...matrices import oom
from .ways import DTYPES, all_stored, assert_ways_agree, held, vectors

SETTINGS = {
    "dtype": st.sampled_from(DTYPES),
    "of": st.sampled_from(["f4", "f8"]),
    "reflected": st.booleans(),
    "data": st.data(),
}


def check(x, ufunc, vector, dtype, reflected, step, operand):
    found = assert_ways_agree(x, step(ufunc, vector, dtype, reflected))
    with np.errstate(all="ignore"):
        values = held(x)
        want = getattr(np, ufunc)(*((operand, values) if reflected else (values, operand))).astype(dtype)
    if np.result_type(values, operand) == dtype:
        np.testing.assert_array_equal(found, want)


@given(x=all_stored(), ufunc=st.sampled_from(["multiply", "divide"]), **SETTINGS)
def test_ways_agree_by_row(x, ufunc, dtype, of, reflected, data):
    vector = data.draw(vectors(x.shape[0], of))
    check(x, ufunc, vector, dtype, reflected, ByRow, vector[:, None])


@given(x=all_stored(), ufunc=st.sampled_from(["subtract", "divide", "minimum", "fmin", "maximum", "power"]), **SETTINGS)
def test_ways_agree_by_column(x, ufunc, dtype, of, reflected, data):
    vector = data.draw(vectors(x.shape[1], of))
    check(x, ufunc, vector, dtype, reflected, ByColumn, vector[None, :])


@pytest.mark.parametrize(("factor", "changes"), [(2.0, False), (0.0, False), (np.nan, True), (np.inf, True)])
def test_a_factor_that_is_no_number_changes_zeros(factor, changes):
    assert ByRow("multiply", np.array([1.0, factor]), DTYPES[1]).may_change_zeros() is changes


def test_which_step_varies_by_row_is_known():
    by_row, by_column = (step("multiply", np.ones(3), DTYPES[1]) for step in (ByRow, ByColumn))
    assert (by_row.by_row, by_column.by_row) == (True, False)
    assert (str(by_row), str(by_column)) == ("multiply rows", "multiply columns")


def test_a_step_by_column_is_in_single_precision_after_another_as_in_numpy():
    x = sparse.random(200, 30, 0.4, format="csr", random_state=0, dtype=np.float32)
    x.data = np.ceil(x.data * 50)
    exponents = np.linspace(0.3, 2.3, 30, dtype=np.float32)
    single = np.dtype(np.float32)
    lazy = oom(x).transform(Elementwise("log1p", dtype=single)).transform(ByColumn("power", exponents, single))
    np.testing.assert_array_equal(lazy.toarray(), np.power(np.log1p(x.toarray()), exponents))
