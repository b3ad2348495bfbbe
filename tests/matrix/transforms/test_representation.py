from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.known_statistics import COLUMN_STATISTICS, ROW_STATISTICS
from scanpy_oom.matrix.transforms.representation import DropZeros, HeldByRows, InByteOrder

from .ways import all_stored, assert_ways_agree, held

STEPS = [HeldByRows(), DropZeros(), InByteOrder(">")]


@given(x=all_stored(), step=st.sampled_from(STEPS))
def test_no_value_changes_in_any_way(x, step):
    np.testing.assert_array_equal(assert_ways_agree(x, step), held(x))


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_nothing_is_computed_and_all_statistics_stay(step):
    assert step.instructions(np.dtype(np.float32)) == []
    assert step.is_uniform
    assert step.kept_statistics == {*ROW_STATISTICS, *COLUMN_STATISTICS}
    assert step.drops_zeros is isinstance(step, DropZeros)
    assert step.leaves_csr is isinstance(step, HeldByRows)
