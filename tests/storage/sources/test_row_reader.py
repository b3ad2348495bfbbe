"""What gives nothing but rows is a source like any other."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.storage.sources.memory import MemorySource
from scanpy_oom.storage.sources.row_reader import RowsSource, row_steps

from ...matrices import counts

FORMS = {"csr": lambda x: x, "csc": lambda x: x.tocsc(), "dense": lambda x: x.toarray()}


def same(block, expected) -> None:
    np.testing.assert_array_equal(block.indptr, expected.indptr)
    np.testing.assert_array_equal(block.indices, expected.indices)
    np.testing.assert_array_equal(block.data, expected.data)
    assert (block.indptr.dtype, block.indices.dtype, block.data.dtype) == (np.int64, np.int32, expected.data.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool"])
@pytest.mark.parametrize("form", FORMS)
@given(rows=st.sets(st.integers(0, 19)))
def test_rows_are_those_of_a_matrix_in_memory(form, dtype, rows):
    x = FORMS[form](counts(20, 10, dtype=dtype))
    source, memory = RowsSource(x, "rows"), MemorySource(x)
    assert (source.shape, source.dtype, source.nnz) == (memory.shape, memory.dtype, memory.nnz)
    assert source.format == ("dense" if form == "dense" else "csr")
    np.testing.assert_array_equal(source.row_offsets(), memory.row_offsets())
    same(source.read_rows(np.array(sorted(rows), dtype=int)), memory.read_rows(np.array(sorted(rows), dtype=int)))
    same(source.read_rows(slice(3, 17)), memory.read_rows(slice(3, 17)))


def test_a_matrix_without_rows_has_none():
    source = RowsSource(np.empty((0, 4), dtype=np.float32), "rows")
    assert source.nnz == 0
    assert source.read_rows(slice(None)).indptr.tolist() == [0]


def test_one_caller_reads_at_a_time():
    class Rows:
        shape = (40, 3)
        busy = False

        def __getitem__(self, rows):
            assert not self.busy
            self.busy = True
            values = np.ones((rows.stop - rows.start, 3))
            self.busy = False
            return values

    source = RowsSource(Rows(), "rows")
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda i: source.read_rows(slice(i, i + 1)), range(40)))
    assert all(block.data.tolist() == [1, 1, 1] for block in blocks)
    assert source.bytes_read == 41 * 24  # with the first, which tells the dtype


class Wrong:
    shape = (4, 3)

    def __init__(self, *rows):
        self.rows = list(rows)

    def __getitem__(self, rows):
        return self.rows.pop(0)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ([[1, 2, 3]], "list for rows 0 to 1"),
        (np.ones((1, 2)), r"float64 of shape \(1, 2\)"),
        (np.array([["a", "b", "c"]]), "<U1 of shape"),
        (sparse.csr_matrix(np.ones((1, 3), dtype=complex)), "complex128 of shape"),
    ],
)
def test_what_is_no_rows_of_numbers_is_refused(first, message):
    with pytest.raises(TypeError, match=message):
        RowsSource(Wrong(first), "rows")


def test_rows_of_another_dtype_are_refused():
    source = RowsSource(Wrong(np.ones((1, 3)), np.ones((4, 3), dtype=int)), "rows")
    with pytest.raises(TypeError, match="gave int64 for rows 0 to 4, and float64 before"):
        source.read_rows(slice(None))


def test_columns_out_of_range_are_refused():
    bad = sparse.csr_matrix((1, 3))
    bad.indptr, bad.indices, bad.data = np.array([0, 1]), np.array([7]), np.array([1.0])
    source = RowsSource(Wrong(sparse.csr_matrix(np.ones((1, 3))), bad), "rows")
    with pytest.raises(ValueError, match="rows holds 7 at position 0"):
        source.read_rows(slice(0, 1))


def test_once_closed_it_says_so_and_it_never_pickles():
    source = RowsSource(np.ones((2, 2)), "rows")
    with pytest.raises(TypeError, match="Write it to a file first"):
        pickle.dumps(source)
    source.close()
    with pytest.raises(ValueError, match="rows has been closed"):
        source.read_rows(slice(None))
    with pytest.raises(ValueError, match="rows has been closed"):
        source.check_open()


@pytest.mark.parametrize("shape", [(10, 0), (0, 10), (5000, 40_000), (1, 1)])
def test_steps_cover_all_rows_once(shape):
    steps = list(row_steps(shape))
    assert [row for start, stop in steps for row in (start, stop)] == sorted(row for step in steps for row in step)
    assert sum(stop - start for start, stop in steps) == shape[0]
    assert all((stop - start) * shape[1] <= 2**24 for start, stop in steps)
