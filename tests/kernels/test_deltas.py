from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.kernels import reference

from .strategies import blocks


@given(block=blocks(), dtype=st.sampled_from([np.uint16, np.uint32]))
def test_deltas_equal_reference_and_lead_back_to_the_columns(block, dtype):
    block.sum_duplicates()
    indptr, indices = block.indptr.astype(np.int64), block.indices.astype(np.int32)
    deltas = np.empty(indices.size, dtype=dtype)
    assert kernels.encode_deltas(indptr, indices, deltas)
    np.testing.assert_array_equal(deltas, reference.encode_deltas(indptr, indices))
    lengths = np.diff(indptr).astype(np.int32)
    found, data = np.empty_like(indices), np.empty(indices.size)
    out_lengths, everything = np.empty(lengths.size, dtype=np.int64), np.empty(0, dtype=np.int32)
    n = kernels.decode_deltas(
        lengths, deltas, block.data, everything.astype(bool), everything, out_lengths, found, data
    )
    assert n == indices.size
    np.testing.assert_array_equal(out_lengths, lengths)
    np.testing.assert_array_equal(found, reference.decode_deltas(lengths, deltas))
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_array_equal(data, block.data)


@given(block=blocks(), data=st.data())
def test_rows_and_columns_that_are_decoded_are_those_of_scipy(block, data):
    block.sum_duplicates()
    deltas = np.empty(block.indices.size, dtype=np.uint16)
    kernels.encode_deltas(block.indptr.astype(np.int64), block.indices.astype(np.int32), deltas)
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=block.shape[0], max_size=block.shape[0])), dtype=bool)
    columns = np.array(data.draw(st.permutations(range(block.shape[1])))[: data.draw(st.integers(0, block.shape[1]))])
    column_map = np.full(block.shape[1], -1, dtype=np.int32)
    column_map[columns.astype(int)] = np.arange(columns.size)
    lengths, indices, values = (
        np.empty(wanted.sum(), dtype=np.int64),
        np.empty(block.nnz, dtype=np.int32),
        np.empty(block.nnz),
    )
    n = kernels.decode_deltas(
        np.diff(block.indptr).astype(np.int32), deltas, block.data, wanted, column_map, lengths, indices, values
    )
    if not column_map.size or not wanted.size:
        return
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    found = sparse.csr_matrix((values[:n], indices[:n], indptr), shape=(lengths.size, columns.size)).toarray()
    np.testing.assert_array_equal(found, block.toarray()[wanted][:, columns.astype(int)])


def test_deltas_that_do_not_fit_are_reported():
    indptr, indices = np.array([0, 2, 3]), np.array([0, 65_537, 3], dtype=np.int32)
    assert not kernels.encode_deltas(indptr, indices, np.empty(3, dtype=np.uint16))
    indices[1] = 65_536
    assert kernels.encode_deltas(indptr, indices, np.empty(3, dtype=np.uint16))


@given(
    values=st.lists(st.floats(width=32), max_size=9)
    | st.lists(st.integers(0, 300) | st.integers(0, 2**33), max_size=9),
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32]),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_narrow_counts_equal_reference(values, dtype, kind):
    array = np.array(values, dtype=kind)
    out = np.empty(array.size, dtype=dtype)
    with np.errstate(invalid="ignore"):
        want = reference.narrow_counts(array, np.dtype(dtype))
    assert kernels.narrow_counts(array, out) == (want is not None)
    if want is not None:
        np.testing.assert_array_equal(out, want)
