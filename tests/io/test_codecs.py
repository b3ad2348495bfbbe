from __future__ import annotations

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scanpy_oom.io import codecs
from scanpy_oom.io.codecs import FilterPipeline, MissingFilterError

GZIP, SHUFFLE = 1, 2


def _shuffle(values: np.ndarray) -> bytes:
    return values.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


@given(values=arrays("f8", st.integers(1, 50)), codes=st.sampled_from([(), (GZIP,), (SHUFFLE,), (SHUFFLE, GZIP)]))
@settings(deadline=None)
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


def test_damaged_bytes_are_refused():
    values = np.arange(1000.0)
    stored = bytearray(zlib.compress(values.tobytes()))
    pipeline = FilterPipeline((GZIP,))
    with pytest.raises(ValueError, match="does not inflate"):
        pipeline.decode(bytes(stored[:-20]), 0, values.nbytes, 8)
    stored[len(stored) // 2] ^= 0xFF
    with pytest.raises(ValueError, match="does not inflate"):
        pipeline.decode(bytes(stored), 0, values.nbytes, 8)


@pytest.mark.parametrize("n", [999, 1001])
def test_bytes_of_another_length_are_refused(n):
    stored = zlib.compress(np.zeros(n).tobytes())
    with pytest.raises(ValueError, match=rf"holds {n * 8} bytes, not 8000"):
        FilterPipeline((GZIP,)).decode(stored, 0, 8000, 8)


@pytest.mark.parametrize(
    ("options", "compression", "is_direct"),
    [
        ({}, "none", True),
        ({"compression": "gzip"}, "gzip", True),
        ({"compression": "gzip", "shuffle": True}, "gzip", True),
        ({"shuffle": True}, "none", True),
        ({"compression": "lzf"}, "lzf", False),
        ({"compression": "gzip", "fletcher32": True}, "gzip", False),
    ],
)
def test_filters_of_a_dataset_are_recognised(tmp_path, options, compression, is_direct):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        pipeline = FilterPipeline.of(h5.create_dataset("a", data=np.arange(100), chunks=(10,), **options), "a.h5:/a")
    assert pipeline.compression == compression
    assert pipeline.is_direct is is_direct


def test_missing_filter_is_named_with_the_way_out(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        dataset = h5.create_dataset("a", data=np.arange(100), compression="lzf")
        monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
        monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingFilterError, match=r"a\.h5:/a is compressed.*'lzf'.*pip install hdf5plugin"):
            FilterPipeline.of(dataset, "a.h5:/a")
