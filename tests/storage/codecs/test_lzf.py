from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.storage.codecs.lzf import decompress, decompress_reference


def compress(values: bytes) -> bytes | None:
    """Compress with the filter of h5py; None if that stores the bytes as they are."""
    with h5py.File("lzf", "w", driver="core", backing_store=False) as h5:
        dataset = h5.create_dataset("a", data=np.frombuffer(values, np.uint8), chunks=(len(values),), compression="lzf")
        mask, stored = dataset.id.read_direct_chunk((0,))
    return None if mask else stored


repetitive = st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.integers(1, 400)), min_size=1, max_size=6).map(
    lambda parts: b"".join(part * n for part, n in parts)
)


@given(values=repetitive)
def test_what_h5py_compresses_comes_back(values):
    stored = compress(values)
    if stored is not None:
        assert decompress(stored, len(values)).tobytes() == values
        assert decompress_reference(stored, len(values)).tobytes() == values


@given(stored=st.binary(max_size=200), n_bytes=st.integers(0, 300))
def test_whatever_is_stored_comes_to_what_the_reference_makes_of_it(stored, n_bytes):
    found = []
    for function in (decompress, decompress_reference):
        try:
            found.append(function(stored, n_bytes).tobytes())
        except ValueError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("stored", "n_bytes"),
    [
        (b"\x02abc", 2),  # more than there is room for
        (b"\x02abc", 4),  # less
        (b"\x05abc", 6),  # literals that end early
        (b"\x00a\x20\x01", 4),  # a reference to before the start
        (b"\x00a\x20", 4),  # a reference without its offset
        (b"\x00a\xe0", 4),  # a reference without its length
        (b"\x00a\xe0\xff\x00", 20),  # a repetition beyond the end
        (b"", 1),
    ],
)
def test_damage_is_refused(stored, n_bytes):
    for function in (decompress, decompress_reference):
        with pytest.raises(ValueError, match=f"does not unpack to {n_bytes} bytes"):
            function(stored, n_bytes)


def test_repetition_may_overlap_itself():
    assert decompress(b"\x00a\xe0\x03\x00", 13).tobytes() == b"a" * 13
