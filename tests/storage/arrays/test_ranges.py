from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.storage.arrays.ranges import Pieces, element_runs, row_runs, selected_offsets

N = 50
selections = st.one_of(
    st.lists(st.integers(0, N - 1), unique=True).map(sorted).map(np.array),
    st.slices(N).filter(lambda s: s.indices(N)[2] == 1),
)


def _chosen(rows: slice | np.ndarray) -> np.ndarray:
    return np.arange(N)[rows if isinstance(rows, slice) else rows.astype(int)]


@given(rows=selections)
def test_runs_hold_the_selected_numbers_and_adjoin_nowhere(rows):
    runs = row_runs(rows, N)
    np.testing.assert_array_equal(np.arange(N)[runs.numbers()], _chosen(rows))
    assert runs.size == len(_chosen(rows))
    assert np.all(runs.starts < runs.stops)
    assert np.all(runs.starts[1:] > runs.stops[:-1])


@given(rows=selections, lengths=st.lists(st.integers(0, 5), min_size=N, max_size=N))
def test_element_runs_are_those_of_the_selected_rows(rows, lengths):
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
    runs = row_runs(rows, N)
    expected = [e for row in _chosen(rows) for e in range(offsets[row], offsets[row + 1])]
    elements = element_runs(runs, offsets)
    np.testing.assert_array_equal(np.arange(offsets[-1])[elements.numbers()], expected)
    assert np.all(elements.starts[1:] > elements.stops[:-1])
    indptr = selected_offsets(runs, offsets)
    assert indptr.dtype == np.int64
    np.testing.assert_array_equal(indptr, np.append(0, np.cumsum(np.array(lengths)[_chosen(rows)])))


@given(rows=selections, chunk_size=st.integers(1, 60))
def test_pieces_put_together_are_the_runs(rows, chunk_size):
    values = np.arange(N) * 10
    runs = row_runs(rows, N)
    out = np.full(runs.size, -1)
    seen = []
    for pieces in Pieces.split(runs, chunk_size):
        seen.append(pieces.chunk)
        pieces.copy(values[pieces.chunk * chunk_size :][:chunk_size], out)
    np.testing.assert_array_equal(out, values[_chosen(rows)])
    assert seen == sorted(set(seen))


def test_many_ranges_of_one_chunk_are_gathered():
    rows = np.arange(0, 1000, 3)
    out = np.zeros(len(rows), dtype=np.float32)
    (pieces,) = Pieces.split(row_runs(rows, 1000), 1000)
    pieces.copy(np.arange(1000, dtype=np.float32), out)
    np.testing.assert_array_equal(out, rows)


def test_numbers_that_do_not_exist_are_refused():
    with pytest.raises(IndexError, match=r"Row 50 does not exist: rows are numbered from 0 to 49"):
        row_runs(np.array([3, 50]), 50)
    with pytest.raises(IndexError, match=r"Row -1 does not exist"):
        row_runs(np.array([-1, 3]), 50)


@pytest.mark.parametrize("rows", [np.array([3, 1]), np.array([2, 2]), slice(0, 10, 2), slice(10, 0, -1)])
def test_rows_out_of_order_are_refused(rows):
    with pytest.raises(ValueError, match=r"strictly increase|step 1"):
        row_runs(rows, 50)


@pytest.mark.parametrize("rows", [np.array([0.5]), np.array([True, False]), np.array([[1, 2]])])
def test_what_is_no_list_of_rows_is_refused(rows):
    with pytest.raises(IndexError, match="one-dimensional array of integers"):
        row_runs(rows, 50)


def test_an_empty_selection_has_no_runs():
    assert row_runs(np.array([]), 50).size == 0
    assert row_runs(slice(7, 3), 50).size == 0
    assert list(Pieces.split(row_runs(slice(0, 0), 50), 10)) == []
