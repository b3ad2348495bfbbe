from __future__ import annotations

from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import scanpy_oom
from scanpy_oom.errors import CorruptFileError
from scanpy_oom.storage.arrays.array_reader import StoredArray
from scanpy_oom.storage.arrays.ranges import row_runs
from scanpy_oom.storage.arrays.validation import CheckIndices, ToValues
from scanpy_oom.storage.hdf5.file import SourceFile


def _open(path, dtype="f4") -> StoredArray:
    file = SourceFile(path)
    with file.open_library() as h5:
        return StoredArray(file.open_array(h5["a"]), np.dtype(dtype), ToValues(np.dtype(dtype), "a"))


@pytest.fixture(scope="module", params=["contiguous", "chunked", "gzip", "lzf"])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("array") / "some.h5"
    options = {
        "contiguous": {},
        "chunked": {"chunks": (64,)},
        "gzip": {"chunks": (64,), "compression": "gzip"},
        "lzf": {"chunks": (64,), "compression": "lzf"},
    }
    with h5py.File(path, "w") as h5:
        h5.create_dataset("a", data=np.arange(1000, dtype="i2"), **options[request.param])
    return path


@given(chosen=st.lists(st.integers(0, 999), unique=True, max_size=100))
def test_runs_are_read(path, chosen):
    chosen = np.array(sorted(chosen), dtype=int)
    values = _open(path).read(row_runs(chosen, 1000))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, chosen)


@given(edges=st.lists(st.integers(0, 1000), min_size=2, max_size=8).map(sorted), compiled=st.booleans())
def test_ranges_are_read_one_after_the_other(path, edges, compiled):
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:  # as where the extension of deflate shows no addresses
            patch.setattr("scanpy_oom.storage.hdf5.chunks.is_available", lambda: False)
        array = _open(path)
    for start, stop in pairwise(edges):
        values = array.read(row_runs(slice(start, stop), 1000), np.dtype("f8"))
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, np.arange(start, stop))


def test_all_is_read(path):
    np.testing.assert_array_equal(_open(path).read_all(), np.arange(1000))


def test_chunks_that_are_not_needed_are_not_fetched(tmp_path):
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("a", data=np.arange(1000.0), chunks=(100,))
    array = _open(path)
    array.read(row_runs(np.array([5, 350, 351, 399]), 1000))
    assert array.chunks.container.counter.total == 2 * 800


@pytest.mark.parametrize("late", range(4))
def test_however_far_behind_a_reader_is_each_chunk_is_fetched_once(tmp_path, monkeypatch, late):
    monkeypatch.setattr("scanpy_oom.storage.arrays.array_reader._CACHE_NBYTES", 0)
    monkeypatch.setattr(scanpy_oom.settings, "_n_threads", 2)
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("a", data=np.arange(1000.0), chunks=(100,))
    array = _open(path)
    assert array.n_readers == 2
    blocks = [slice(start, start + 130) for start in range(0, 1000, 130)]
    for block in [*blocks[:late], *blocks[late + 1 :], blocks[late]]:
        np.testing.assert_array_equal(array.read(row_runs(block, 1000)), np.arange(1000)[block])
    assert array.chunks.container.counter.total == 8000


def test_chunk_that_neighbours_share_is_fetched_once(tmp_path):
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("a", data=np.arange(1000.0), chunks=(100,), compression="gzip")
    array = _open(path)
    for start in range(0, 1000, 30):
        np.testing.assert_array_equal(
            array.read(row_runs(slice(start, start + 30), 1000)), np.arange(1000)[start:][:30]
        )
    assert array.chunks.container.counter.total == array.chunks.nbytes


@pytest.mark.parametrize("n_threads", [2, 8])
def test_each_thread_keeps_the_chunk_on_which_it_stopped(tmp_path, n_threads, monkeypatch):
    monkeypatch.setenv("SCANPY_OOM_THREADS", str(n_threads))
    monkeypatch.setenv("SCANPY_OOM_MEMORY_LIMIT", "4 GB")  # whatever the machine has left
    n, size = n_threads, 2**20  # 4 MB a chunk
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("a", data=np.zeros(n * size, "f4"), chunks=(size,), compression="gzip", compression_opts=1)
    array = _open(path)
    for start in range(0, size, size // 4):
        for i in range(n):  # as threads that have a chunk each
            array.read(row_runs(slice(i * size + start, i * size + start + size // 4), n * size))
    assert array.chunks.container.counter.total == array.chunks.nbytes


@given(
    values=arrays(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]), st.integers(0, 20)),
    n=st.integers(1, 300),
)
def test_indices_pass_exactly_if_all_are_in_range(values, n):
    check = CheckIndices("x.h5ad: /X/indices", n)
    wrong = [i for i, value in enumerate(values.tolist()) if not 0 <= value < n]
    if not wrong:
        checked = check(values, 100)
        assert checked.dtype == np.int32
        np.testing.assert_array_equal(checked, values)
        return
    message = rf"x\.h5ad: /X/indices holds {values[wrong[0]]} at position {100 + wrong[0]}; .* between 0 and {n - 1}"
    with pytest.raises(CorruptFileError, match=message):
        check(values, 100)


def test_any_byte_but_zero_is_true():
    stored = np.array([0, 1, 2, 255], dtype=np.uint8).view(bool)
    np.testing.assert_array_equal(ToValues(np.dtype("f4"), "a")(stored, 0), [0, 1, 1, 1])
