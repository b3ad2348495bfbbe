"""The compression LZF, which h5py brings for HDF5 and which anndata used for years."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...jit import njit
from ..abc import Codec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Stored

__all__ = ["LZF", "decompress", "decompress_reference"]

_LITERALS = 32  # a byte below this is followed by as many literal bytes, and one more


@njit(nogil=True, cache=True)
def _decompress(stored: NDArray[np.uint8], out: NDArray[np.uint8]) -> np.int64 | int:
    """Fill `out`; return how many bytes there were, -1 if `stored` ends early, points back too far or holds more."""
    n_in, n_out = np.uint64(stored.shape[0]), np.uint64(out.shape[0])
    one, i, at = np.uint64(1), np.uint64(0), np.uint64(0)
    while i < n_in:
        control = np.uint64(stored[i])
        i += one
        if control < np.uint64(32):
            n = control + one
            if n > n_in - i or n > n_out - at:
                return -1
            for k in range(n):
                out[at + k] = stored[i + k]
            i += n
            at += n
            continue
        n = control >> np.uint64(5)
        if n == np.uint64(7):
            if i >= n_in:
                return -1
            n += np.uint64(stored[i])
            i += one
        if i >= n_in:
            return -1
        n += np.uint64(2)
        back = ((control & np.uint64(31)) << np.uint64(8)) + np.uint64(stored[i]) + one
        i += one
        if back > at or n > n_out - at:
            return -1
        for _ in range(n):
            out[at] = out[at - back]
            at += one
    return np.int64(at)


def decompress(stored: Stored, n_bytes: int) -> NDArray[np.uint8]:
    """Undo LZF.

    Parameters
    ----------
    stored
        What was compressed.
    n_bytes
        How many bytes it is to give.

    Raises
    ------
    ValueError
        If `stored` is not what LZF makes of `n_bytes` bytes.
    """
    out = np.empty(n_bytes, dtype=np.uint8)
    if _decompress(np.frombuffer(stored, dtype=np.uint8), out) != n_bytes:
        raise _damaged(n_bytes)
    return out


def decompress_reference(stored: Stored, n_bytes: int) -> NDArray[np.uint8]:
    """Do what :func:`decompress` does, byte by byte."""
    source, out = iter(bytes(stored)), bytearray()
    try:
        for control in source:
            if control < _LITERALS:
                out += bytes([next(source) for _ in range(control + 1)])
                continue
            n = control >> 5
            n += 2 + (next(source) if n == 7 else 0)
            start = len(out) - 1 - ((control & 31) << 8) - next(source)
            if start < 0:
                raise _damaged(n_bytes)
            for k in range(start, start + n):
                out.append(out[k])
    except StopIteration as error:
        raise _damaged(n_bytes) from error
    if len(out) != n_bytes:
        raise _damaged(n_bytes)
    return np.frombuffer(bytes(out), dtype=np.uint8)


def _damaged(n_bytes: int) -> ValueError:
    return ValueError(f"it does not unpack to {n_bytes} bytes")


class LZF(Codec):
    """The compression LZF."""

    name = "lzf"

    def decode(self, stored: Stored, n_bytes: int, itemsize: int) -> memoryview:
        """Undo LZF."""
        return decompress(stored, n_bytes).data
