from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scanpy_oom.storage.scratch.transpose import Entries, partition, partition_reference, sort_rows, sort_rows_reference

N_ROWS = 12


@st.composite
def entries(draw) -> Entries:
    n = draw(st.integers(0, 40))
    rows = draw(arrays("i4", n, elements=st.integers(0, N_ROWS - 1)))
    return Entries(rows, np.arange(n, dtype="i4"), np.arange(n, dtype=draw(st.sampled_from(["f4", "f8"]))) / 2)


@given(entries=entries(), edges=st.lists(st.integers(1, N_ROWS - 1), unique=True).map(sorted))
def test_partition_agrees_with_reference(entries, edges):
    n_buckets = len(edges) + 1
    bucket_of_row = np.repeat(np.arange(n_buckets, dtype="i4"), np.diff([0, *edges, N_ROWS]))
    found, starts = partition(entries, bucket_of_row, n_buckets)
    expected, expected_starts = partition_reference(entries, bucket_of_row, n_buckets)
    np.testing.assert_array_equal(starts, expected_starts)
    for array, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype


@given(entries=entries(), first_row=st.integers(0, 1000))
def test_sort_rows_agrees_with_reference(entries, first_row):
    offsets = np.append(0, np.cumsum(np.bincount(entries.rows, minlength=N_ROWS)))
    shifted = entries._replace(rows=entries.rows + np.int32(first_row))
    found = sort_rows(shifted, first_row, offsets)
    for array, other in zip(found, sort_rows_reference(shifted, first_row, offsets), strict=True):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype


@pytest.mark.parametrize("rows", [[0, 0, 1], [0, 5, 1], [0, -1, 1]])
def test_entries_other_than_those_counted_are_refused(rows):
    entries = Entries(np.array(rows, "i4"), np.zeros(3, "i4"), np.zeros(3, "f4"))
    with pytest.raises(ValueError, match="not as many as were counted"):
        sort_rows(entries, 0, np.array([0, 1, 3]))
