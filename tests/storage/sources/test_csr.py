from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.errors import CorruptFileError
from scanpy_oom.storage.hdf5.open import open_source

FILTERS = {
    "contiguous": {},
    "chunked": {"chunks": (97,)},
    "gzip": {"chunks": (97,), "compression": "gzip"},
    "shuffle": {"chunks": (97,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (97,), "compression": "lzf"},
    "fletcher32": {"chunks": (97,), "compression": "gzip", "fletcher32": True},
    "zstd": {"chunks": (97,), **hdf5plugin.Zstd()},
}


def _assert_equal(block, expected: sparse.csr_matrix) -> None:
    np.testing.assert_array_equal(block.indptr, expected.indptr)
    np.testing.assert_array_equal(block.indices, expected.indices)
    np.testing.assert_array_equal(block.data, expected.data)


def _replace(path, name, values, **kwargs) -> None:
    with h5py.File(path, "a") as h5:
        attrs = dict(h5[name].attrs)
        del h5[name]
        h5.create_dataset(name, data=values, **kwargs).attrs.update(attrs)


@pytest.fixture(scope="module")
def matrix(counts) -> sparse.csr_matrix:
    return counts(120, 40)


@pytest.fixture(scope="module", params=FILTERS)
def path(request, matrix, tmp_path_factory):
    from anndata.io import write_elem

    path = tmp_path_factory.mktemp("csr") / "x.h5ad"
    with h5py.File(path, "w") as h5:
        write_elem(h5, "X", matrix, dataset_kwargs=FILTERS[request.param])
    return path


rows = st.one_of(
    st.lists(st.integers(0, 119), unique=True).map(sorted).map(np.array),
    st.slices(120).filter(lambda s: s.indices(120)[2] == 1),
)


@given(rows=rows)
def test_rows_are_those_of_the_matrix(path, matrix, rows):
    _assert_equal(open_source(path).read_rows(rows), matrix[rows if isinstance(rows, slice) else rows.astype(int)])


def test_description_is_that_of_the_matrix(path, matrix):
    source = open_source(path)
    assert source.shape == (120, 40)
    assert source.dtype == np.float32
    assert source.format == "csr"
    assert source.nnz == matrix.nnz
    assert source.location == "x.h5ad:/X"
    assert source.path == path
    assert source.bytes_read == 0
    assert repr(source) == f"<CSRSource x.h5ad:/X: 120 x 40 float32, {matrix.nnz} stored>"
    assert source.read_columns(slice(None)) is None
    with h5py.File(path) as h5:
        assert source.nbytes == sum(h5["X"][key].id.get_storage_size() for key in ("data", "indices", "indptr"))


def test_row_offsets_are_indptr(path, matrix):
    offsets = open_source(path).row_offsets()
    np.testing.assert_array_equal(offsets, matrix.indptr)
    assert offsets.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        offsets[0] = 1


def test_blocks_are_private(path, matrix):
    source = open_source(path)
    for _ in range(2):
        block = source.read_rows(slice(3, 30))
        _assert_equal(block, matrix[3:30])
        block.data[:] = -1
        block.indices[:] = 0
        block.indptr[:] = 0


def test_consecutive_blocks_read_each_chunk_once(path):
    source = open_source(path)
    for start in range(0, 120, 7):
        source.read_rows(slice(start, start + 7))
    assert source.bytes_read == source.nbytes


def test_threads_read_at_once(path, matrix, to_scipy):
    source = open_source(path)
    with ThreadPoolExecutor(8) as executor:
        parts = list(executor.map(lambda i: to_scipy(source, slice(i, i + 3)), range(0, 120, 3)))
    assert (sparse.vstack(parts) != matrix).nnz == 0


def test_pickle_opens_the_file_again(path, matrix):
    source = open_source(path)
    source.row_offsets()
    pickled = pickle.dumps(source)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    assert (again.location, again.nnz, again.bytes_read) == (source.location, source.nnz, 0)
    _assert_equal(again.read_rows(slice(None)), matrix)


def _read(source, queue) -> None:
    queue.put(float(source.read_rows(slice(10, 60)).data.sum()))


def test_a_copy_is_closed_by_itself(path, matrix):
    source = open_source(path)
    copy(source).close()
    np.testing.assert_array_equal(source.row_offsets(), matrix.indptr)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_other_processes_read(path, matrix, method):
    source = open_source(path)
    source.read_rows(slice(0, 20))
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=_read, args=(source, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == matrix[10:60].sum()
    _assert_equal(source.read_rows(slice(10, 60)), matrix[10:60])


def test_closed_source_says_so(path):
    source = open_source(path)
    source.read_rows(slice(None))
    source.close()
    source.close()
    for rows in (slice(None), slice(0, 0)):
        with pytest.raises(ValueError, match=r"x\.h5ad has been closed"):
            source.read_rows(rows)


@pytest.mark.parametrize("value_type", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_all_types_are_read(write_h5ad, matrix, value_type, order):
    path = write_h5ad(matrix)
    values = matrix.data.astype(order + value_type)
    _replace(path, "X/data", values, chunks=(50,), compression="gzip")
    source = open_source(path)
    assert source.dtype == np.dtype(value_type)
    assert source.dtype.isnative
    block = source.read_rows(slice(None))
    assert block.data.dtype == np.float64
    np.testing.assert_array_equal(block.data, values)


@pytest.mark.parametrize("index_type", ["u1", "i2", "<i4", ">i4", "u4", "<i8", ">u8"])
def test_indices_of_all_types_are_read(write_h5ad, matrix, index_type):
    path = write_h5ad(matrix)
    _replace(path, "X/indices", matrix.indices.astype(index_type), chunks=(50,))
    _replace(path, "X/indptr", matrix.indptr.astype(index_type if index_type not in {"u1"} else "i2"), chunks=(50,))
    _assert_equal(open_source(path).read_rows(slice(None)), matrix)


def test_unsorted_and_duplicate_indices_and_explicit_zeros_come_as_they_are(write_h5ad):
    matrix = sparse.csr_matrix((np.array([1.0, 0, 2, 3]), np.array([4, 1, 1, 0]), np.array([0, 3, 3, 4])), shape=(3, 5))
    block = open_source(write_h5ad(matrix)).read_rows(slice(None))
    np.testing.assert_array_equal(block.indptr, [0, 3, 3, 4])
    np.testing.assert_array_equal(block.indices, [4, 1, 1, 0])
    np.testing.assert_array_equal(block.data, [1, 0, 2, 3])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (5, 5)])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_empty_matrices_are_read(write_h5ad, to_scipy, shape, options):
    source = open_source(write_h5ad(sparse.csr_matrix(shape, dtype="f4"), **options))
    assert source.nnz == 0
    assert to_scipy(source).shape == shape
    np.testing.assert_array_equal(source.row_offsets(), np.zeros(shape[0] + 1))


def test_few_rows_of_a_large_file_take_few_bytes(write_h5ad, counts, to_scipy):
    matrix = counts(20_000, 300, seed=3)
    source = open_source(write_h5ad(matrix, chunks=(5000,), compression="gzip"))
    source.row_offsets()
    before = source.bytes_read
    chosen = np.array([10, 11, 12, 9_000, 19_999])
    assert (to_scipy(source, chosen) != matrix[chosen]).nnz == 0
    assert source.bytes_read - before < source.nbytes / 20


def test_file_replaced_by_another_is_still_read(path, matrix, tmp_path):
    copy = tmp_path / "copy.h5ad"
    copy.write_bytes(path.read_bytes())
    source = open_source(copy)
    with h5py.File(tmp_path / "new.h5ad", "w") as h5:
        h5["X"] = 1
    (tmp_path / "new.h5ad").replace(copy)
    _assert_equal(source.read_rows(slice(None)), matrix)
    with pytest.raises(CorruptFileError, match="has changed since it was opened"):
        pickle.loads(pickle.dumps(source))


def test_file_changed_in_place_is_refused(write_h5ad, matrix):
    path = write_h5ad(matrix, compression="gzip")
    source = open_source(path)
    source.read_rows(slice(0, 10))
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorruptFileError, match=r"x\.h5ad has changed since it was opened"):
        source.read_rows(slice(0, 10))


def test_file_cut_short_while_open_is_refused(write_h5ad, matrix):
    path = write_h5ad(matrix, compression="gzip")
    source = open_source(path)
    source.row_offsets()
    os.truncate(path, 1000)
    with pytest.raises(CorruptFileError, match="has changed since it was opened"):
        source.read_rows(slice(0, 10))


@pytest.mark.parametrize("bad", [-1, 40, 2**31 - 1, 2**31, 2**40])
@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_index_out_of_range_is_refused(write_h5ad, matrix, bad, compression):
    path = write_h5ad(matrix)
    indices = matrix.indices.astype("i8" if bad >= 2**31 else "i4")
    indices[123] = bad
    _replace(path, "X/indices", indices, chunks=(50,), compression=compression)
    source = open_source(path)
    row = int(np.searchsorted(matrix.indptr, 123, side="right")) - 1
    with pytest.raises(CorruptFileError, match=rf"x\.h5ad: /X/indices holds {bad} at position 123; .* 0 and 39"):
        source.read_rows(slice(row, row + 1))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: np.where(np.arange(121) == 0, 1, p), "indptr that starts at 1, not at 0"),
        (lambda p: np.where(np.arange(121) == 60, 0, p), r"indptr that decreases from \d+ at position 59 to 0"),
        (lambda p: np.where(np.arange(121) == 120, p + 1, p), r"indptr that ends at 481; it must end at 480"),
        (lambda p: np.where(np.arange(121) == 120, p - 1, p), r"indptr that ends at 479; it must end at 480"),
        (lambda p: np.where(np.arange(121) == 60, -(2**40), p), "indptr that decreases"),
        (lambda p: p[:-1], "indptr of 120 entries where 121 are expected"),
        (lambda p: p.astype("f8"), r"has float64 values of shape \(121,\) as indptr"),
    ],
)
def test_impossible_indptr_is_refused(write_h5ad, matrix, edit, message):
    path = write_h5ad(matrix)
    _replace(path, "X/indptr", edit(matrix.indptr.astype("i8")))
    with pytest.raises(CorruptFileError, match=rf"x\.h5ad: /X has .*{message}|x\.h5ad: /X {message}"):
        open_source(path).read_rows(slice(None))


def test_wrong_lengths_are_refused_when_opened(write_h5ad, matrix):
    path = write_h5ad(matrix)
    _replace(path, "X/data", matrix.data[:-1])
    with pytest.raises(CorruptFileError, match=r"x\.h5ad: /X has 480 indices for 479 values"):
        open_source(path)


@pytest.mark.parametrize("key", ["indptr", "indices", "data"])
def test_missing_array_is_named(write_h5ad, matrix, key):
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        del h5["X"][key]
    with pytest.raises(CorruptFileError, match=rf"/X has no {key}"):
        open_source(path)


def test_group_in_place_of_an_array_is_named(write_h5ad, matrix):
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        del h5["X/data"]
        h5.create_group("X/data")
    with pytest.raises(CorruptFileError, match=r"x\.h5ad: /X has a group as data"):
        open_source(path)
