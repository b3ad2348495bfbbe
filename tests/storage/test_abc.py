"""The contract of containers: HDF5 files, Zarr stores, and one whose bytes lie elsewhere."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest

from scanpy_oom import CorruptFileError
from scanpy_oom.storage.abc import Codec
from scanpy_oom.storage.codecs.fletcher32 import Fletcher32
from scanpy_oom.storage.codecs.gzip import Gzip
from scanpy_oom.storage.codecs.lzf import LZF
from scanpy_oom.storage.codecs.shuffle import Shuffle
from scanpy_oom.storage.codecs.zstd import Zstd
from scanpy_oom.storage.hdf5.container import HDF5Container
from scanpy_oom.storage.hdf5.file import SourceFile
from scanpy_oom.storage.sources.open import open_matrix
from scanpy_oom.storage.zarr.store import ZarrStore

ELSEWHERE: dict[str, bytes] = {}
"""Files of another machine, by their path."""


class RemoteFile(HDF5Container):
    """An HDF5 file whose bytes are asked for by their place."""

    def __init__(self, path, stamp=None):
        super().__init__()
        self.path = Path(path)
        self.stamp = self._tag()
        self._closed = False
        if stamp not in {None, self.stamp}:
            raise self.changed()

    def _tag(self):
        return (hashlib.md5(ELSEWHERE[str(self.path)], usedforsecurity=False).hexdigest(),)

    @property
    def size(self):
        return len(ELSEWHERE[str(self.path)])

    @property
    def is_closed(self):
        return self._closed

    def pread(self, n, offset):
        self.check_open()
        self.counter.add(n)
        return np.frombuffer(ELSEWHERE[str(self.path)], np.uint8, n, offset)

    def open_library(self):
        self.check_open()
        return h5py.File(io.BytesIO(ELSEWHERE[str(self.path)]), "r")

    def check_open(self):
        if self._closed:
            msg = "closed"
            raise ValueError(msg)

    def is_unchanged(self):
        return self._tag() == self.stamp

    def changed(self):
        return CorruptFileError("another file")

    def close(self):
        self._closed = True


@pytest.fixture(params=["hdf5", "zarr", "remote"])
def opened(request, write_h5ad, counts):
    """A container with a matrix as X, what changes it, and the matrix."""
    matrix = counts(60, 20)
    path = write_h5ad(matrix, compression="gzip", shuffle=True, chunks=(50,))
    if request.param == "zarr":
        pytest.importorskip("zarr")
        store = path.with_suffix(".zarr")
        ad.read_h5ad(path).write_zarr(store)
        described = store / ("zarr.json" if (store / "zarr.json").exists() else ".zgroup")
        return ZarrStore(store), lambda: described.write_text(described.read_text() + "\n"), matrix
    if request.param == "hdf5":
        return SourceFile(path), lambda: path.write_bytes(path.read_bytes() + b"\0"), matrix
    ELSEWHERE[str(path)] = path.read_bytes()
    return RemoteFile(path), lambda: ELSEWHERE.update({str(path): path.read_bytes() + b"\0"}), matrix


def test_arrays_are_opened_by_their_names(opened):
    container, _, matrix = opened
    array = container.open_array("/X/data")
    assert (array.shape, array.dtype, len(array.grid)) == ((matrix.nnz,), matrix.dtype, 1)
    assert array.container is container
    values = np.concatenate([array.read(i) for i in range(array.grid[0])])
    np.testing.assert_array_equal(values, matrix.data)
    assert container.attributes("/X")["encoding-type"] == "csr_matrix"
    with pytest.raises(KeyError), container.element("/nothing"):
        pass


def test_places_of_chunks_are_those_that_are_read(opened):
    container, _, matrix = opened
    array = container.open_array("/X/data")
    ranges = array.byte_ranges()
    cost = array.estimate_read(np.array([0]), np.array([matrix.nnz]))
    assert cost.certain == (container.backend == "hdf5")
    if ranges is None:  # each chunk is a file of its own
        assert container.backend == "zarr"
        return
    assert ranges.starts.shape == ranges.sizes.shape == array.grid
    before = container.counter.total
    array.read(1)
    estimated = array.estimate_read(np.array([60]), np.array([70])).nbytes
    assert container.counter.total - before == ranges.sizes[1] == estimated
    assert cost.nbytes == ranges.sizes.sum() == array.nbytes


def test_a_matrix_is_opened_in_any_container_and_again_where_it_is_unpickled(opened, to_scipy):
    container, _, matrix = opened
    source = open_matrix(container, "/X")
    assert source.backend == container.backend
    assert (to_scipy(source) != matrix).nnz == 0
    cost = source.estimate_read(np.array([3, 4]))
    assert 0 < cost.nbytes < source.nbytes
    again = pickle.loads(pickle.dumps(source))
    assert (to_scipy(again, slice(10, 20)) != matrix[10:20]).nnz == 0
    assert type(again.container) is type(container)


def test_a_container_says_that_it_has_changed(opened):
    container, change, _ = opened
    source = open_matrix(container, "/X")
    content = pickle.dumps(source)
    assert container.is_unchanged()
    source.check_open()
    change()
    assert not container.is_unchanged()
    for fails in (source.check_open, lambda: source.read_rows(slice(0, 5)), lambda: pickle.loads(content)):
        with pytest.raises(CorruptFileError):
            fails()


def test_a_closed_container_is_not_read(opened):
    container, _, _ = opened
    source = open_matrix(container, "/X")
    source.close()
    assert container.is_closed
    for fails in (source.check_open, lambda: source.read_rows(slice(0, 5))):
        with pytest.raises(ValueError, match="closed"):
            fails()


@pytest.mark.parametrize("codec", [Gzip(), LZF(), Zstd(), Shuffle(), Fletcher32()], ids=lambda codec: codec.name)
def test_codecs_undo_what_they_do_and_say_so_if_they_do_not(codec):
    assert isinstance(codec, Codec)
    values = np.arange(100, dtype=np.int32).view(np.uint8)
    if isinstance(codec, LZF | Fletcher32):  # with which nothing is written
        with pytest.raises(NotImplementedError, match=codec.name):
            codec.encode(values, 4)
    else:
        stored = codec.encode(values, 4)
        np.testing.assert_array_equal(np.frombuffer(codec.decode(stored, values.size, 4), np.uint8), values)
    with pytest.raises(ValueError, match=r"\w"):
        codec.decode(b"\x01\x02\x03\x04\x05", values.size, 4)
