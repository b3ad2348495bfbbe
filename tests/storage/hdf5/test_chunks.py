from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np
import pytest

from scanpy_oom.errors import CorruptFileError, MemoryBudgetExceeded
from scanpy_oom.storage.hdf5.chunks import ContiguousReader, DirectReader, LibraryReader, open_chunks
from scanpy_oom.storage.hdf5.file import SourceFile

VALUES = np.arange(1050, dtype="i4").reshape(50, 21) % 97


@pytest.fixture
def open_dataset(tmp_path):
    def open_dataset(make):
        path = tmp_path / "some.h5"
        with h5py.File(path, "w") as h5:
            make(h5)
        file = SourceFile(path)
        with file.open_library() as h5:
            return open_chunks(file, h5["a"])

    return open_dataset


def _read_all(reader) -> np.ndarray:
    out = np.empty(reader.shape, dtype=reader.dtype)
    for index in np.ndindex(reader.grid):
        window = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, reader.chunk_shape, strict=True))
        out[window] = reader.read(*index)
    return out


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ContiguousReader, {}),
        (DirectReader, {"chunks": (8, 5)}),
        (DirectReader, {"chunks": (50, 21)}),
        (DirectReader, {"chunks": (8, 5), "compression": "gzip"}),
        (DirectReader, {"chunks": (8, 5), "compression": "gzip", "shuffle": True}),
        (DirectReader, {"chunks": (8, 5), "shuffle": True}),
        (DirectReader, {"chunks": (8, 5), "compression": "lzf"}),
        (DirectReader, {"chunks": (8, 5), "compression": "gzip", "fletcher32": True}),
        (DirectReader, {"chunks": (8, 5), "compression": "lzf", "shuffle": True, "fletcher32": True}),
        (DirectReader, {"chunks": (8, 5), **hdf5plugin.Zstd()}),
        (DirectReader, {"chunks": (8, 5), "shuffle": True, **hdf5plugin.Zstd()}),
    ],
)
@pytest.mark.parametrize("dtype", ["<i4", ">i4", "u1", "<f8", ">f2"])
def test_chunks_put_together_are_the_dataset(open_dataset, kind, options, dtype):
    reader = open_dataset(lambda h5: h5.create_dataset("a", data=VALUES.astype(dtype), **options))
    assert type(reader) is kind
    values = _read_all(reader)
    np.testing.assert_array_equal(values, VALUES)
    assert values.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    "options", [{"scaleoffset": 0}, hdf5plugin.Blosc2(), hdf5plugin.Blosc(), hdf5plugin.Bitshuffle(), hdf5plugin.LZ4()]
)
def test_other_filters_are_left_to_the_library(open_dataset, options):
    reader = open_dataset(lambda h5: h5.create_dataset("a", data=VALUES, chunks=(8, 5), **options))
    assert type(reader) is LibraryReader
    np.testing.assert_array_equal(_read_all(reader), VALUES)
    assert reader.file.counter.total == reader.nbytes


@pytest.mark.parametrize("maxshape", [None, (50, 21), (None, 21), (None, None), (50, None), (100, 100)])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_chunks_are_found_whatever_may_grow(tmp_path, maxshape, libver):
    path = tmp_path / "some.h5"
    with h5py.File(path, "w", libver=libver) as h5:
        h5.create_dataset("a", data=VALUES, chunks=(8, 5), maxshape=maxshape, compression="gzip")
    file = SourceFile(path)
    with file.open_library() as h5:
        reader = open_chunks(file, h5["a"])
    np.testing.assert_array_equal(_read_all(reader), VALUES)


def test_unusual_layouts_and_types_are_left_to_the_library(open_dataset, tmp_path):
    def compact(h5):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((10,))
        h5py.h5d.create(h5.id, b"a", h5py.h5t.NATIVE_INT32, space, plist).write(space, space, np.arange(10, dtype="i4"))

    def virtual(h5):
        h5["b"] = np.arange(10)
        layout = h5py.VirtualLayout(shape=(10,), dtype="i8")
        layout[:] = h5py.VirtualSource(h5["b"])
        h5.create_virtual_dataset("a", layout)

    def external(h5):
        np.arange(10).tofile(tmp_path / "raw.bin")
        h5.create_dataset("a", (10,), "i8", external=[(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)])

    def three_bytes(h5):
        kind = h5py.h5t.NATIVE_INT32.copy()
        kind.set_precision(24)
        h5py.h5d.create(h5.id, b"a", kind, h5py.h5s.create_simple((10,)))
        h5["a"][:] = np.arange(10)

    for make in (compact, virtual, external, three_bytes):
        reader = open_dataset(make)
        assert type(reader) is LibraryReader
        np.testing.assert_array_equal(_read_all(reader), np.arange(10))
        reader.close()


@pytest.mark.parametrize("options", [{}, {"chunks": (4,)}, {"chunks": (4,), "compression": "lzf"}])
def test_what_was_never_written_has_the_fill_value(open_dataset, options):
    reader = open_dataset(lambda h5: h5.create_dataset("a", (10,), "f4", fillvalue=7, **options))
    np.testing.assert_array_equal(_read_all(reader), np.full(10, 7))
    assert reader.file.counter.total == (40 if not options else 0)


def test_unwritten_chunks_lie_between_written_ones(open_dataset):
    def make(h5):
        h5.create_dataset("a", (20,), "f4", chunks=(4,), compression="gzip")[9:11] = 1

    np.testing.assert_array_equal(_read_all(open_dataset(make)), [0] * 9 + [1] * 2 + [0] * 9)


def test_filter_that_a_chunk_skipped_is_not_undone(open_dataset):
    def make(h5):
        dataset = h5.create_dataset("a", data=np.arange(12.0), chunks=(4,), compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((4,), np.arange(50.0, 54.0).tobytes(), filter_mask=0b11)

    np.testing.assert_array_equal(_read_all(open_dataset(make)), [0, 1, 2, 3, 50, 51, 52, 53, 8, 9, 10, 11])


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"compression": "gzip", "fletcher32": True}])
def test_damaged_chunk_is_named(tmp_path, options):
    path = tmp_path / "some.h5"
    values = np.random.default_rng(0).random(1000)
    with h5py.File(path, "w") as h5:
        dataset = h5.create_dataset("a", data=values, chunks=(100,), **options)
        info = dataset.id.get_chunk_info(3)
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        raw.write(b"damage")
    file = SourceFile(path)
    with file.open_library() as h5:
        reader = open_chunks(file, h5["a"])
    np.testing.assert_array_equal(reader.read(2), values[200:300])
    with pytest.raises(CorruptFileError, match=r"some\.h5: the chunk of /a that starts at 300 is damaged"):
        reader.read(3)


def test_bytes_are_counted_as_stored(open_dataset):
    for options in ({}, {"chunks": (8, 5), "compression": "gzip"}, {"chunks": (8, 5), "scaleoffset": 0}):
        reader = open_dataset(lambda h5, options=options: h5.create_dataset("a", data=VALUES, **options))
        _read_all(reader)
        assert reader.file.counter.total == reader.nbytes


def test_chunk_larger_than_the_memory_limit_is_refused(open_dataset, memory_limit):
    reader = open_dataset(lambda h5: h5.create_dataset("a", (5_000_000,), "f8", chunks=(5_000_000,)))
    memory_limit("20 MB")
    with pytest.raises(MemoryBudgetExceeded, match=r"some\.h5:/a takes 40 MB for one chunk.*memory_limit is 20 MB"):
        reader.read(0)


def test_empty_dataset_has_no_chunks(open_dataset):
    reader = open_dataset(lambda h5: h5.create_dataset("a", (0, 7), "f4", chunks=(5, 7), maxshape=(None, 7)))
    assert reader.grid == (0, 1)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"fletcher32": True}, {"compression": "lzf"}])
def test_chunks_side_by_side_are_fetched_together(open_dataset, options, monkeypatch):
    values = np.arange(95, dtype=">i4")
    reader = open_dataset(lambda h5: h5.create_dataset("a", data=values, chunks=(10,), **options))
    fetched = []
    pread = reader.file.pread
    monkeypatch.setattr(reader.file, "pread", lambda n, offset: fetched.append(n) or pread(n, offset))
    found = np.concatenate(list(reader.read_each(1, 10)))
    np.testing.assert_array_equal(found, values[10:])
    assert found.dtype == np.int32
    assert len(fetched) < 4
    assert sum(fetched) == reader.file.counter.total


def test_no_more_than_a_bound_is_fetched_together(open_dataset, monkeypatch):
    monkeypatch.setattr("scanpy_oom.storage.hdf5.chunks._TOGETHER", 100)
    reader = open_dataset(lambda h5: h5.create_dataset("a", data=np.arange(95, dtype="i4"), chunks=(10,)))
    pread, fetched = reader.file.pread, []
    monkeypatch.setattr(reader.file, "pread", lambda n, offset: fetched.append(n) or pread(n, offset))
    np.testing.assert_array_equal(np.concatenate(list(reader.read_each(0, 10))), np.arange(95))
    assert max(fetched) <= 100


def test_chunks_that_were_never_written_are_filled_among_those_that_were(open_dataset):
    def make(h5):
        dataset = h5.create_dataset("a", (100,), "i4", chunks=(10,), fillvalue=7)
        dataset[40:60] = np.arange(20)

    found = np.concatenate(list(open_dataset(make).read_each(0, 10)))
    np.testing.assert_array_equal(found, np.r_[np.full(40, 7), np.arange(20), np.full(40, 7)])


def test_of_chunks_that_are_fetched_together_the_damaged_one_is_named(open_dataset):
    reader = open_dataset(
        lambda h5: h5.create_dataset("a", data=np.arange(95), chunks=(10,), compression="gzip", fletcher32=True)
    )
    address = int(reader._chunk_table()[0][3])
    with reader.file.path.open("r+b") as file:
        file.seek(address + 5)
        byte = file.read(1)[0]
        file.seek(address + 5)
        file.write(bytes([byte ^ 255]))
    with pytest.raises(CorruptFileError, match="the chunk of /a that starts at 30 is damaged"):
        list(reader.read_each(0, 10))
