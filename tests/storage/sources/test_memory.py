from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.errors import CorruptFileError
from scanpy_oom.storage.sources.memory import MemorySource

MATRIX = sparse.random(40, 15, density=0.2, format="csr", random_state=np.random.default_rng(0), dtype="f4")
KINDS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "coo_matrix": sparse.coo_matrix,
    "array": lambda matrix: matrix.toarray(),
}


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.integers(0, 39), unique=True).map(sorted))
def test_rows_are_those_of_the_matrix(kind, rows, request):
    source = MemorySource(KINDS[kind](MATRIX))
    block = source.read_rows(np.array(rows))
    found = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=(len(rows), 15))
    np.testing.assert_array_equal(found.toarray(), MATRIX[rows].toarray())


def _cut(matrix, name, n):
    setattr(matrix, name, getattr(matrix, name)[:n].copy())


DAMAGES = {
    "indptr decreases": lambda m: m.indptr.__setitem__(2, 10**8),
    "indptr ends too late": lambda m: m.indptr.__setitem__(-1, m.indptr[-1] + 1),
    "indptr starts too late": lambda m: m.indptr.__setitem__(0, 1),
    "indptr is too short": lambda m: _cut(m, "indptr", -1),
    "indptr is empty": lambda m: _cut(m, "indptr", 0),
    "indices are too few": lambda m: _cut(m, "indices", -3),
    "an index is too large": lambda m: m.indices.__setitem__(1, 10**8),
    "an index is negative": lambda m: m.indices.__setitem__(1, -1),
}


@pytest.mark.parametrize(
    "make", [sparse.csr_matrix, sparse.csc_matrix, lambda m: sparse.bsr_matrix(m, blocksize=(4, 5))]
)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_arrays_that_make_up_no_matrix_are_refused(make, damage):
    matrix = make(MATRIX.copy())
    damage(matrix)
    with pytest.raises(CorruptFileError):
        MemorySource(matrix).read_rows(slice(0, 40))


@pytest.mark.parametrize("position", [10**8, -1])
def test_coordinates_out_of_range_are_refused(position):
    matrix = sparse.coo_matrix(MATRIX)
    matrix.coords[0][3] = position
    with pytest.raises(CorruptFileError, match="holds"):
        MemorySource(matrix)


def test_a_matrix_with_room_behind_its_last_entry_is_read_and_left_as_it_is():
    matrix = MATRIX.copy()
    matrix.data, matrix.indices = np.append(matrix.data, 0), np.append(matrix.indices, 0)
    block = MemorySource(matrix).read_rows(slice(0, 40))
    np.testing.assert_array_equal(block.data, MATRIX.data)
    assert matrix.data.size == MATRIX.nnz + 1


@pytest.mark.parametrize("kind", KINDS)
def test_description_is_that_of_the_matrix(kind):
    source = MemorySource(KINDS[kind](MATRIX))
    assert source.shape == (40, 15)
    assert source.dtype == np.float32
    assert source.format == {"csc_matrix": "csc", "array": "dense"}.get(kind, "csr")
    assert source.nnz == (600 if kind == "array" else MATRIX.nnz)
    assert source.row_offsets()[-1] == source.nnz
    assert source.bytes_read == 0
    assert source.path is None


@pytest.mark.parametrize("kind", ["csr_matrix", "array"])
def test_blocks_are_private(kind):
    matrix = KINDS[kind](MATRIX).copy()
    source = MemorySource(matrix)
    block = source.read_rows(slice(None))
    block.data[:] = -1
    block.indices[:] = 0
    assert (matrix != MATRIX).sum() == 0
    with pytest.raises(ValueError, match="read-only"):
        source.row_offsets()[0] = 1


@pytest.mark.parametrize(("dtype", "kernel"), [("?", "f4"), ("u1", "f4"), ("i8", "f8"), ("f8", "f8")])
@pytest.mark.parametrize("kind", ["csr_matrix", "array"])
def test_values_come_in_the_kernel_dtype(dtype, kernel, kind):
    matrix = KINDS[kind](MATRIX.astype(dtype))
    source = MemorySource(matrix)
    assert source.dtype == dtype
    assert source.read_rows(slice(None)).data.dtype == kernel


def test_nan_is_not_zero():
    block = MemorySource(np.array([[0.0, np.nan, 1.0]])).read_rows(slice(None))
    np.testing.assert_array_equal(block.indices, [1, 2])


@pytest.mark.parametrize("matrix", [[[1, 2]], np.zeros(3), np.array([["a"]]), sparse.csr_matrix(np.eye(2, dtype="c8"))])
def test_what_is_no_matrix_of_numbers_is_refused(matrix):
    with pytest.raises(TypeError, match="matrix of numbers is expected"):
        MemorySource(matrix)


def test_indices_out_of_range_are_refused():
    matrix = MATRIX.copy()
    matrix.indices[7] = 99
    with pytest.raises(CorruptFileError, match="holds 99 at position 7"):
        MemorySource(matrix).read_rows(slice(None))


def test_pickles():
    source = pickle.loads(pickle.dumps(MemorySource(MATRIX)))
    np.testing.assert_array_equal(source.read_rows(slice(3, 5)).data, MATRIX[3:5].data)
