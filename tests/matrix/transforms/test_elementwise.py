from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.transforms import Cast, Elementwise

from .ways import all_stored, assert_ways_agree, held

NUMBERS = st.sampled_from([0, 1, 2, -3, 0.5, np.inf, np.nan, np.float32(0.1), np.float64(0.1), np.int64(3)])


@given(x=all_stored(), ufunc=st.sampled_from(["log1p", "expm1", "sqrt", "absolute", "negative", "logical_not", "sign"]))
def test_ways_agree_on_ufuncs(x, ufunc):
    found = assert_ways_agree(x, Elementwise(ufunc))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, getattr(np, ufunc)(held(x)))


@given(
    x=all_stored(),
    ufunc=st.sampled_from(["add", "multiply", "divide", "greater", "equal", "minimum", "power", "floor_divide"]),
    operand=NUMBERS,
    reflected=st.booleans(),
)
def test_ways_agree_on_ufuncs_with_a_number(x, ufunc, operand, reflected):
    operands = (operand, held(x)) if reflected else (held(x), operand)
    with np.errstate(all="ignore"):
        try:
            want = getattr(np, ufunc)(*operands)
        except ValueError:  # integers to negative powers
            return
    np.testing.assert_array_equal(assert_ways_agree(x, Elementwise(ufunc, operand, reflected=reflected)), want)


@given(x=all_stored(), dtype=st.sampled_from(["f4", "f8", "i8", "i4", "u1", "?"]))
@pytest.mark.filterwarnings("ignore:invalid value")
def test_ways_agree_on_casts(x, dtype):
    found = assert_ways_agree(x, Cast(np.dtype(dtype)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, held(x).astype(dtype))


def test_comparisons_drop_zeros_unless_what_is_stored_stays_stored():
    assert Elementwise("greater", 1.0).drops_zeros
    assert not Elementwise("greater", 1.0, keeps_zeros=True).drops_zeros
    assert not Elementwise("log1p").drops_zeros


def test_a_dtype_may_be_told():
    assert Elementwise("add", 1.0, np.dtype(np.float32)).result_dtype(np.dtype(np.int64)) == np.float32
