from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.transforms import ByRow, Cast, Elementwise
from scanpy_oom.matrix.transforms.conditional import Where, as_value, steps_since

from ...matrices import counts, oom
from .ways import all_stored, assert_ways_agree, held

CONDITIONS = {
    (): lambda x: np.ones(x.shape, dtype=bool),
    (Elementwise("greater", 2.0),): lambda x: x > 2,
    (Elementwise("log1p"), Elementwise("less", 1.0)): lambda x: np.log1p(x) < 1,
    (Cast(np.dtype(np.uint8)), Elementwise("equal", 3)): lambda x: x.astype(np.uint8) == 3,
}


@given(x=all_stored(), condition=st.sampled_from(list(CONDITIONS)), number=st.sampled_from([0, 1, 7]))
@pytest.mark.filterwarnings("ignore:invalid value")
def test_ways_agree(x, condition, number):
    value = as_value(number, x.dtype)
    found = assert_ways_agree(x, Where(condition, value))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, np.where(CONDITIONS[condition](held(x)), value, held(x)))


def test_a_number_is_as_an_array_holds_it():
    assert as_value(0.1, np.dtype(np.float32)) == np.float32(0.1)
    assert as_value(2**60, np.dtype(np.int64)) is None
    with pytest.raises(ValueError, match="could not convert"):
        as_value("x", np.dtype(np.float32))


def test_steps_since_a_state_are_those_by_value():
    before = oom(counts(6, 4))
    after = before.transform(Elementwise("log1p")).transform(Elementwise("greater", 1.0))
    assert steps_since(before, after) == (Elementwise("log1p"), Elementwise("greater", 1.0))
    by_row = after.transform(ByRow("multiply", np.ones(6), np.dtype(np.float64)))
    assert steps_since(before, by_row) is None
    assert steps_since(after, before) is None
