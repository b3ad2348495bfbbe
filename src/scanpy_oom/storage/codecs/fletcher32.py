"""The checksum that HDF5's filter fletcher32 puts behind a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...jit import njit
from ..abc import Codec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Stored

__all__ = ["Fletcher32", "checksum", "checksum_reference", "verified"]

_N_BYTES = 4
_MODULUS = 0xFFFF
_BLOCK = 4096  # words, the weighted sum of which is far from the end of 64 bits


@njit(nogil=True, cache=True)
def _checksum(words: NDArray[np.uint16]) -> np.int64:
    """Sum up words whose bytes are in the order of a little-endian machine."""
    n = words.shape[0]
    low, high = np.uint64(0), np.uint64(0)
    for start in range(0, n, _BLOCK):
        block = words[start : min(start + _BLOCK, n)]
        size = np.uint64(block.shape[0])
        total, weighted = np.uint64(0), np.uint64(0)
        for i in range(size):
            word = np.uint64(np.uint16(block[i] << np.uint16(8)) | np.uint16(block[i] >> np.uint16(8)))
            total += word
            weighted += (size - i) * word
        high = _fold(high + size * low + weighted)
        low = _fold(low + total)
    return np.int64(high << np.uint64(16) | low)


@njit(nogil=True, cache=True)
def _fold(total: np.uint64) -> np.uint64:
    while total > np.uint64(_MODULUS):
        total = (total & np.uint64(_MODULUS)) + (total >> np.uint64(16))
    return total


def checksum(values: bytes | memoryview) -> int:
    """Sum up bytes, as big-endian words of 16 bits, and the sums along the way, modulo 65535 where 0 is zeros alone."""
    padded = values if len(values) % 2 == 0 else bytes(values) + b"\0"
    return int(_checksum(np.frombuffer(padded, dtype="<u2")))


def checksum_reference(values: bytes | memoryview) -> int:
    """Do what :func:`checksum` does, in whole numbers of any size."""
    padded = bytes(values) + b"\0" * (len(values) % 2)
    words = np.frombuffer(padded, dtype=">u2").tolist()
    low, high = sum(words), sum((len(words) - i) * word for i, word in enumerate(words))
    low, high = (total and (total - 1) % _MODULUS + 1 for total in (low, high))
    return high << 16 | low


def verified(stored: Stored) -> memoryview:
    """Return what precedes the checksum at the end of `stored`.

    Raises
    ------
    ValueError
        If the checksum is that of something else.
    """
    content, tail = memoryview(stored)[:-_N_BYTES], bytes(stored[-_N_BYTES:])
    found = checksum(content)
    # HDF5 before 1.6.3 wrote it with the bytes of each word exchanged on little-endian machines, and reads that still.
    expected = {int.from_bytes(tail, "little"), int.from_bytes(tail[1::-1] + tail[:1:-1], "little")}
    if len(tail) < _N_BYTES or found not in expected:
        msg = f"its checksum is {found:#010x}, and {int.from_bytes(tail, 'little'):#010x} is stored"
        raise ValueError(msg)
    return content


class Fletcher32(Codec):
    """The checksum that HDF5 puts behind a chunk."""

    name = "fletcher32"

    def decode(self, stored: Stored, n_bytes: int, itemsize: int) -> memoryview:
        """Verify the checksum, and return what precedes it."""
        return verified(stored)
