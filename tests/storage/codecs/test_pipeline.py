from __future__ import annotations

import tracemalloc
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scanpy_oom.storage.codecs import pipeline as codecs
from scanpy_oom.storage.codecs.pipeline import FilterPipeline, MissingFilterError

GZIP, SHUFFLE, FLETCHER32 = 1, 2, 3


def _shuffle(values: np.ndarray) -> bytes:
    return values.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


@given(values=arrays("f8", st.integers(1, 50)), codes=st.sampled_from([(), (GZIP,), (SHUFFLE,), (SHUFFLE, GZIP)]))
def test_decoding_undoes_the_filters(values, codes):
    stored = _shuffle(values) if SHUFFLE in codes else values.tobytes()
    if GZIP in codes:
        stored = zlib.compress(stored)
    decoded = FilterPipeline(codes).decode(stored, 0, values.nbytes, 8)
    assert decoded.tobytes() == values.tobytes()


def test_filters_that_were_not_applied_are_not_undone():
    values = np.arange(20.0)
    pipeline = FilterPipeline((SHUFFLE, GZIP))
    assert pipeline.decode(_shuffle(values), 0b10, values.nbytes, 8).tobytes() == values.tobytes()
    assert pipeline.decode(zlib.compress(values.tobytes()), 0b01, values.nbytes, 8).tobytes() == values.tobytes()
    assert pipeline.decode(values.tobytes(), 0b11, values.nbytes, 8).tobytes() == values.tobytes()


def test_no_more_is_unpacked_than_a_chunk_holds():
    bomb = zlib.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="holds more than 8000 bytes"):
            FilterPipeline((GZIP,)).decode(bomb, 0, 8000, 8)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 5, 100])
def test_stream_without_its_end_is_refused(cut):
    stored = zlib.compress(np.arange(1000.0).tobytes())
    with pytest.raises(ValueError, match=r"does not inflate|holds 0 bytes"):
        FilterPipeline((GZIP,)).decode(stored[: len(stored) - cut] if cut else b"", 0, 8000, 8)


def test_every_flipped_bit_is_noticed_or_means_nothing():
    values = np.arange(300.0)
    stored = zlib.compress(values.tobytes())
    accepted = 0
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decoded = FilterPipeline((GZIP,)).decode(bytes(damaged), 0, values.nbytes, 8)
        except ValueError:
            continue
        assert decoded.tobytes() == values.tobytes()
        accepted += 1  # bits that fill up the last byte, or another way to say the same
    assert accepted < 20


def test_damaged_bytes_are_refused():
    values = np.arange(1000.0)
    stored = bytearray(zlib.compress(values.tobytes()))
    pipeline = FilterPipeline((GZIP,))
    with pytest.raises(ValueError, match="does not inflate"):
        pipeline.decode(bytes(stored[:-20]), 0, values.nbytes, 8)
    stored[len(stored) // 2] ^= 0xFF
    with pytest.raises(ValueError, match="does not inflate"):
        pipeline.decode(bytes(stored), 0, values.nbytes, 8)


@pytest.mark.parametrize(("n", "found"), [(999, "holds 7992 bytes, not 8000"), (1001, "holds more than 8000 bytes")])
def test_bytes_of_another_length_are_refused(n, found):
    stored = zlib.compress(np.zeros(n).tobytes())
    with pytest.raises(ValueError, match=found):
        FilterPipeline((GZIP,)).decode(stored, 0, 8000, 8)


@pytest.mark.parametrize(
    ("options", "compression", "is_direct"),
    [
        ({}, "none", True),
        ({"compression": "gzip"}, "gzip", True),
        ({"compression": "gzip", "shuffle": True}, "gzip", True),
        ({"shuffle": True}, "none", True),
        ({"compression": "lzf"}, "lzf", True),
        ({"compression": "lzf", "shuffle": True}, "lzf", True),
        ({"fletcher32": True}, "none", True),
        (hdf5plugin.Zstd(), "zstd", True),
        (hdf5plugin.Blosc(), "blosc", False),
        ({"compression": "gzip", "shuffle": True, "fletcher32": True}, "gzip", True),
        ({"scaleoffset": 0}, "scaleoffset", False),
        ({"compression": "gzip", "scaleoffset": 0}, "scaleoffset+gzip", False),
    ],
)
def test_filters_of_a_dataset_are_recognised(tmp_path, options, compression, is_direct):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        pipeline = FilterPipeline.of(h5.create_dataset("a", data=np.arange(100), chunks=(10,), **options), "a.h5:/a")
    assert pipeline.compression == compression
    assert pipeline.is_direct(8) is is_direct


def test_values_of_another_size_than_those_that_were_shuffled_are_left_to_the_library():
    assert FilterPipeline((SHUFFLE, GZIP), 4).is_direct(4)
    assert not FilterPipeline((SHUFFLE, GZIP), 4).is_direct(8)


@pytest.mark.parametrize("codes", [(FLETCHER32, GZIP), (GZIP, SHUFFLE), (GZIP, GZIP), (GZIP, 32000)])
def test_filters_in_an_order_that_is_unknown_here_are_left_to_the_library(codes):
    assert not FilterPipeline(codes, 8).is_direct(8)


def test_missing_filter_is_named_with_the_way_out(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        dataset = h5.create_dataset("a", data=np.arange(100), compression="lzf")
        monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
        monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingFilterError, match=r"a\.h5:/a is compressed.*'lzf'.*pip install hdf5plugin"):
            FilterPipeline.of(dataset, "a.h5:/a")
