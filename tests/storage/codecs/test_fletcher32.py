from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scanpy_oom.storage.codecs.fletcher32 import checksum, checksum_reference, verified


def stored_by_hdf5(values: bytes) -> bytes:
    with h5py.File("sum", "w", driver="core", backing_store=False) as h5:
        dataset = h5.create_dataset("a", data=np.frombuffer(values, np.uint8), chunks=(len(values),), fletcher32=True)
        return dataset.id.read_direct_chunk((0,))[1]


@given(values=st.one_of(st.binary(min_size=1), st.integers(1, 40_000).map(lambda n: b"\xff\xfe\x01" * n)))
@example(values=b"\xff" * 100_001)
@example(values=b"\0" * 9)
@example(values=b"\xff\xff" * 4096)
def test_checksum_is_that_of_hdf5(values):
    stored = stored_by_hdf5(values)
    assert len(stored) == len(values) + 4
    assert checksum(values) == checksum_reference(values) == int.from_bytes(stored[-4:], "little")
    assert bytes(verified(stored)) == values


@pytest.mark.parametrize("bit", [0, 1000 * 4 + 3, 8000 * 4 - 1, 8000 * 4 + 5])
def test_changed_bit_is_noticed(bit):
    stored = bytearray(stored_by_hdf5(np.random.default_rng(0).bytes(4000)))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match=r"its checksum is 0x\w{8}, and 0x\w{8} is stored"):
        verified(bytes(stored))


def test_checksum_in_the_order_of_old_versions_is_accepted():
    stored = stored_by_hdf5(bytes(range(100)))
    a, b, c, d = stored[-4:]
    assert bytes(verified(stored[:-4] + bytes([b, a, d, c]))) == bytes(range(100))
    with pytest.raises(ValueError, match="its checksum is"):
        verified(stored[:-4] + bytes([d, c, b, a]))


@pytest.mark.parametrize("n", range(4))
def test_what_is_too_short_to_hold_a_checksum_is_refused(n):
    with pytest.raises(ValueError, match="its checksum is"):
        verified(b"\0" * n)
