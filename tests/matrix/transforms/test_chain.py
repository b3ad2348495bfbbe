from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.errors import UnsupportedOutOfMemory
from scanpy_oom.matrix.transforms import ByColumn, ByRow, Elementwise, NormalizeTotal, RowTotals
from scanpy_oom.matrix.transforms.chain import Chain
from scanpy_oom.matrix.transforms.low_rank import Combine, LowRank
from scanpy_oom.matrix.transforms.scale import Scale

from .ways import DTYPES, all_stored, assert_ways_agree, vectors

SINGLE, DOUBLE = DTYPES
CENTRE = Scale(np.ones(3), np.full(3, 2.0), None, np.array([True, False]), SINGLE, dense=True)
FILLING = Combine("subtract", LowRank(np.ones((2, 1)), np.ones((1, 3))), DOUBLE, "less")


def chain(*transforms, dtype=SINGLE, dense=False):
    return Chain(transforms, dtype, (2, 3), dense)


@given(x=all_stored(), data=st.data(), bound=st.sampled_from([None, 10.0]))
def test_ways_agree_on_a_workflow(x, data, bound):
    n_rows, n_columns = x.shape
    steps = [
        Elementwise("multiply", 1.0, data.draw(st.sampled_from(DTYPES))),
        NormalizeTotal(RowTotals(np.arange(float(n_rows)), np.empty(0, dtype=bool)), 1e4),
        Elementwise("log1p"),
        Scale(data.draw(vectors(n_columns)), np.ones(n_columns), bound, None, SINGLE, dense=True),
        ByColumn("multiply", data.draw(vectors(n_columns)), DOUBLE),
    ]
    assert_ways_agree(x, *steps)


def test_its_dtype_and_layout_are_those_of_the_last_step():
    assert (chain().dtype, chain().dense) == (SINGLE, False)
    assert (chain(FILLING).dtype, chain(FILLING).dense) == (DOUBLE, True)


def test_it_is_parted_where_it_fills():
    whole = chain(Elementwise("log1p"), FILLING, Elementwise("sqrt"))
    assert [len(program) for program in whole.programs] == [1, 2]
    assert whole.fill_values is None
    assert whole.least_entries() == 3
    assert len(chain(Elementwise("log1p")).programs) == 1


def test_what_makes_zeros_infinite_fills():
    assert [len(program) for program in chain(Elementwise("log")).programs] == [0, 1]


def test_zeros_become_fill_values_by_class_of_rows():
    found = chain(CENTRE).fill_values
    np.testing.assert_array_equal(found.values[found.row_class], [[-0.5] * 3, [0.0] * 3])
    assert chain(Elementwise("log1p")).fill_values is None


def test_what_varies_by_row_is_refused_where_zeros_are_others():
    with pytest.raises(UnsupportedOutOfMemory, match="a row-wise step after centring"):
        chain(CENTRE).append(ByRow("multiply", np.ones(2), DOUBLE))


def test_a_factor_of_an_array_applies_to_whole_rows():
    by_row = ByRow("multiply", np.array([1.0, np.nan]), DOUBLE)
    of_array, of_sparse = chain(by_row, dense=True), chain(by_row)
    assert of_array.program.instructions[0].whole_rows
    assert not of_sparse.program.instructions[0].whole_rows
    assert (of_array.may_change_zeros, of_sparse.may_change_zeros) == (True, False)


def test_a_pickle_has_no_derived_values():
    whole = chain(Elementwise("log1p"), CENTRE)
    size = len(pickle.dumps(whole))
    assert whole.fill_values is not None
    assert len(pickle.dumps(whole)) == size
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.fill_values.values, whole.fill_values.values)


def test_a_subset_takes_its_part():
    part = chain(CENTRE).take(np.array([1]), np.array([2, 0]))
    assert part.shape == (1, 2)
    np.testing.assert_array_equal(part.fill_values_before_filling is None, True)
