from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.errors import CorruptFileError
from scanpy_oom.storage.hdf5.open import open_source
from scanpy_oom.storage.scratch import transpose
from scanpy_oom.storage.scratch.file import ScratchSpaceError


@pytest.fixture
def matrix(counts) -> sparse.csr_matrix:
    return counts(300, 80)


@pytest.fixture
def path(matrix, write_h5ad):
    return write_h5ad(matrix.tocsc(), chunks=(101,), compression="gzip")


def test_rows_are_those_of_the_matrix(path, matrix, to_scipy):
    source = open_source(path)
    assert source.format == "csc"
    assert source.nnz == matrix.nnz
    for rows in (slice(None), slice(10, 50), np.array([0, 7, 8, 9, 299]), slice(0, 0)):
        found, expected = to_scipy(source, rows), matrix[rows]
        np.testing.assert_array_equal(found.indptr, expected.indptr)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.data, expected.data)


def test_row_offsets_take_no_copy(path, matrix, scratch_dir):
    scratch_dir.rmdir()
    source = open_source(path)
    offsets = source.row_offsets()
    np.testing.assert_array_equal(offsets, matrix.indptr)
    assert offsets.dtype == np.int32
    assert not offsets.flags.writeable
    with pytest.raises(ScratchSpaceError, match="scratch_dir"):
        source.read_rows(slice(None))


@pytest.mark.parametrize("memory", ["4 kB", "20 kB", "1 GB"])
@given(seed=st.integers(0, 10), density=st.sampled_from([0, 0.02, 0.3, 1]), dtype=st.sampled_from(["f4", "i8", "?"]))
@settings(max_examples=15)
def test_many_small_buckets_make_the_same_matrix(memory, tmp_path_factory, seed, density, dtype):
    import h5py
    from anndata.io import write_elem

    from scanpy_oom.settings import settings as oom_settings

    matrix = sparse.random(70, 30, density=density, format="csc", random_state=np.random.default_rng(seed)).astype(
        dtype
    )
    path = tmp_path_factory.mktemp("csc") / "x.h5ad"
    with h5py.File(path, "w") as h5:
        write_elem(h5, "X", matrix)
    oom_settings.memory_limit = memory
    try:
        block = open_source(path).read_rows(slice(None))
    finally:
        oom_settings.memory_limit = None
    expected = matrix.tocsr()
    np.testing.assert_array_equal(block.indptr, expected.indptr)
    np.testing.assert_array_equal(block.indices, expected.indices)
    np.testing.assert_array_equal(block.data, expected.data)


def test_little_memory_means_many_buckets(path, memory_limit):
    memory_limit("10 kB")
    source = open_source(path)
    assert len(transpose._bucket_edges(source.row_offsets())) > 5
    assert len(list(transpose._spans(source.nnz))) > 5


def test_columns_are_read_straight_from_the_file(path, matrix, scratch_dir):
    scratch_dir.rmdir()
    source = open_source(path)
    for columns in (slice(None), slice(10, 50), np.array([0, 7, 8, 79]), slice(0, 0)):
        found = source.read_columns(columns)
        assert isinstance(found, sparse.csc_matrix)
        assert found.shape == matrix[:, columns].shape
        assert (found != matrix.tocsc()[:, columns]).nnz == 0


def test_few_columns_take_few_bytes(counts, write_h5ad):
    matrix = counts(2000, 500, seed=1).tocsc()
    source = open_source(write_h5ad(matrix, chunks=(1000,)))
    source.read_columns(np.array([3]))
    indptr_bytes = 501 * 4
    assert source.bytes_read <= 4 * 4000 + max(indptr_bytes, 4000)


def test_matrix_is_read_twice_and_then_no_more(path):
    source = open_source(path)
    source.read_rows(slice(None))
    after_copy = source.bytes_read
    assert after_copy <= 2 * source.nbytes
    source.read_rows(slice(None))
    assert source.bytes_read == after_copy


def test_scratch_leaves_nothing_behind(path, scratch_dir, n_open_files):
    source = open_source(path)
    source.read_rows(slice(0, 5))
    assert list(scratch_dir.iterdir()) == []
    before = n_open_files()
    source.close()
    assert n_open_files() == before - 3
    with pytest.raises(ValueError, match="has been closed"):
        source.read_rows(slice(0, 5))


def test_failed_copy_gives_its_scratch_space_back(path, scratch_dir, monkeypatch, n_open_files):
    def fail(*args):
        raise OSError(28, "No space left on device")

    source = open_source(path)
    source.row_offsets()
    before = n_open_files()
    monkeypatch.setattr(transpose.ScratchArray, "read", fail)
    with pytest.raises(OSError, match="No space left"):
        source.read_rows(slice(0, 5))
    assert n_open_files() == before
    monkeypatch.undo()
    assert len(source.read_rows(slice(0, 5)).indptr) == 6


def test_copy_that_does_not_fit_is_refused(path, scratch_dir, monkeypatch):
    usage = transpose.check_scratch_space.__globals__["shutil"].disk_usage(scratch_dir)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=100))
    with pytest.raises(ScratchSpaceError, match=r"A copy of .*x\.h5ad: /X by rows takes .* has 100 B free"):
        open_source(path).read_rows(slice(0, 5))


def test_file_that_changed_between_the_two_reads_is_refused(path):
    source = open_source(path)
    source.row_offsets()
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorruptFileError, match="has changed"):
        source.read_rows(slice(0, 5))


def test_threads_share_one_copy(path, matrix, to_scipy):
    source = open_source(path)
    with ThreadPoolExecutor(4) as executor:
        parts = list(executor.map(lambda i: to_scipy(source, slice(i, i + 20)), range(0, 300, 20)))
    assert (sparse.vstack(parts) != matrix).nnz == 0
    assert source.bytes_read <= 2 * source.nbytes


def test_pickle_reads_the_file_again(path, matrix, to_scipy):
    source = open_source(path)
    source.read_rows(slice(0, 5))
    assert (to_scipy(pickle.loads(pickle.dumps(source))) != matrix).nnz == 0


def _sum_rows(source, queue):
    queue.put(float(source.read_rows(slice(0, 100)).data.sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_reads_the_copy(path, matrix):
    source = open_source(path)
    source.read_rows(slice(0, 5))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_sum_rows, args=(source, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == matrix[:100].sum()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (5, 5)])
def test_empty_matrices_are_read(write_h5ad, to_scipy, shape):
    source = open_source(write_h5ad(sparse.csc_matrix(shape, dtype="f4")))
    assert to_scipy(source).shape == shape
    assert source.read_columns(slice(None)).shape == shape
    np.testing.assert_array_equal(source.row_offsets(), np.zeros(shape[0] + 1))
