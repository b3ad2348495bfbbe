"""Chunks inflated in a compiled loop are those that Python's zlib inflates, up to one with which something is wrong."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scanpy_oom.storage.codecs import gzip_alone as inflate
from scanpy_oom.storage.codecs import libdeflate
from scanpy_oom.storage.codecs.gzip_alone import inflate_each
from scanpy_oom.storage.codecs.libdeflate import is_available

ALL = (-(2**63), 2**64)
STORED = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="extensions show nothing but what Python calls")


def stored(chunks):
    """Compress chunks, and put them side by side."""
    parts = [zlib.compress(chunk.tobytes(), 4) for chunk in chunks]
    return np.frombuffer(b"".join(parts), np.uint8), np.array([len(part) for part in parts])


@given(st.sampled_from(STORED), st.data())
def test_values_are_those_that_were_stored(dtype, data):
    n_chunks, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20))
    chunks = data.draw(arrays.arrays(dtype, (n_chunks, n)))
    out = np.full(data.draw(st.integers(1, n_chunks * n)), -1, dtype=np.float64)
    assert inflate_each(*stored(chunks), np.dtype(dtype), n, ALL, out) == n_chunks
    np.testing.assert_array_equal(out, chunks.ravel()[: len(out)].astype(np.float64))


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "i2"])
@pytest.mark.parametrize("wrong", [-1, 10])
def test_a_chunk_with_another_integer_is_left(dtype, wrong):
    if wrong < 0 and dtype[0] == "u":
        wrong = np.iinfo(dtype).max
    chunks = np.arange(9).reshape(3, 3).astype(dtype)
    chunks[1, 2] = wrong
    out = np.zeros(9, np.int32)
    assert inflate_each(*stored(chunks), np.dtype(dtype), 3, (0, 9), out) == 1
    np.testing.assert_array_equal(out[:3], [0, 1, 2])


def test_no_integer_lies_between_bounds_that_cross():
    assert inflate_each(*stored(np.zeros((2, 3), "u4")), np.dtype("u4"), 3, (0, -1), np.zeros(6, np.int32)) == 0


@pytest.mark.parametrize("dtype", ["i4", "f4"])
def test_a_damaged_chunk_is_left(dtype):
    chunks = np.arange(3000).reshape(3, 1000).astype(dtype)
    content, sizes = stored(chunks)
    for at in (0, 200, sizes[1] - 1):  # its head, its middle, its checksum
        damaged = content.copy()
        damaged[sizes[0] + at] ^= 0x55
        assert inflate_each(damaged, sizes, np.dtype(dtype), 1000, ALL, np.zeros(3000)) == 1
    assert inflate_each(content[:-1], sizes, np.dtype(dtype), 1000, ALL, np.zeros(3000)) == 2  # it breaks off


@pytest.mark.parametrize("n", [999, 1001])
def test_a_chunk_of_another_size_is_left(n):
    assert inflate_each(*stored(np.zeros((1, n))), np.dtype("f8"), 1000, ALL, np.zeros(1000)) == 0


def test_the_library_is_found():
    assert is_available()


def test_nothing_is_inflated_where_there_is_no_library(monkeypatch):
    for module in (inflate, libdeflate):
        monkeypatch.setattr(module, "find_library", lambda: None)
    assert not is_available()
    assert inflate_each(*stored(np.zeros((1, 3))), np.dtype("f8"), 3, ALL, np.zeros(3)) == 0
