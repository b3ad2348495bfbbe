from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.storage.codecs.zstd import decompress


def compress(values: bytes, level: int = 3) -> bytes:
    with h5py.File("zstd", "w", driver="core", backing_store=False) as h5:
        options = {"chunks": (len(values),), **hdf5plugin.Zstd(clevel=level)}
        dataset = h5.create_dataset("a", data=np.frombuffer(values, np.uint8), **options)
        return dataset.id.read_direct_chunk((0,))[1]


@given(values=st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 10**6).map(lambda n: b"ab" * n)))
def test_what_the_filter_compresses_comes_back(values):
    assert decompress(compress(values), len(values)).tobytes() == values


def test_frame_as_long_as_what_it_holds_is_no_copy():
    lengths = [n for n in range(1, 60) if len(compress(bytes([7] * n))) == n]
    assert lengths
    for n in lengths:
        assert decompress(compress(bytes([7] * n)), n).tobytes() == bytes([7] * n)


def test_frame_that_cannot_be_unpacked_is_refused():
    values = np.random.default_rng(0).integers(0, 9, 1000, dtype="i4").tobytes()
    frame = compress(values)
    for damaged in (b"", frame[:-1], frame[: len(frame) // 2], frame + b"x", b"?" + frame[1:], frame + frame):
        with pytest.raises(ValueError, match="does not unpack to 4000 bytes"):
            decompress(damaged, 4000)
    for n_bytes in (1, 3999, 4001, 10**6):
        with pytest.raises(ValueError, match=f"does not unpack to {n_bytes} bytes"):
            decompress(frame, n_bytes)


def test_flipped_bit_is_refused_or_gives_as_many_bytes():
    values = np.random.default_rng(0).integers(0, 9, 60, dtype="i4").tobytes()
    frame = compress(values)
    refused = 0
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert len(decompress(bytes(damaged), len(values))) == len(values)
        except ValueError:
            refused += 1
    assert refused > 100
