from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.transforms import Elementwise, NormalizeTotal, RowTotals

from .ways import all_stored, assert_ways_agree, held, vectors

ALL = np.empty(0, dtype=bool)


@given(x=all_stored(dtypes=("f4", "f8")), data=st.data(), target=st.sampled_from([1.0, 1e4]), logs=st.booleans())
def test_ways_agree(x, data, target, logs):
    totals = np.nan_to_num(data.draw(vectors(x.shape[0])), nan=5.0)
    step = NormalizeTotal(RowTotals(totals, ALL), target)
    found = assert_ways_agree(x, step, *([Elementwise("log1p")] if logs else []))
    with np.errstate(all="ignore"):
        factors = step.factors(slice(None), x.dtype)
        want = held(x) / np.where(factors == 0, 1, factors)[:, None]
        np.testing.assert_array_equal(found, np.log1p(want) if logs else want)


def test_totals_are_found_by_the_rows_of_the_source_when_a_block_is_made():
    totals = RowTotals(np.full(4, np.nan), ALL)
    (step,) = NormalizeTotal(totals, 10.0).instructions(np.dtype(np.float32))
    totals.values[:] = [10, 20, 0, 40]
    np.testing.assert_array_equal(step.for_rows(slice(0, 2), np.array([3, 2])).row, [4, 1])


@pytest.mark.parametrize(("total", "changes"), [(3.0, False), (0.0, False), (np.nan, True)])
def test_a_total_that_is_no_number_or_not_known_may_change_zeros(total, changes):
    assert NormalizeTotal(RowTotals(np.array([total]), ALL), 1.0).may_change_zeros() is changes


def test_totals_tell_over_which_columns_they_are():
    some = np.array([True, False])
    assert RowTotals(np.ones(1), ALL).counts(np.ones(2, dtype=bool))
    assert not RowTotals(np.ones(1), ALL).counts(some)
    assert RowTotals(np.ones(1), some).counts(some)
