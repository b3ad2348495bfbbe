"""HDF5's filter shuffle, which stores the first bytes of all values, then the second ones, and so on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ...jit import njit
from ..abc import Codec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Stored

__all__ = ["Shuffle", "shuffle", "unshuffle", "unshuffle_reference"]


@njit(nogil=True, cache=True)
def _join_2(planes: NDArray[np.uint8], out: NDArray[np.uint16]) -> None:
    for i in range(np.uint64(out.shape[0])):
        out[i] = np.uint16(planes[0, i]) | np.uint16(planes[1, i]) << np.uint16(8)


@njit(nogil=True, cache=True)
def _join_4(planes: NDArray[np.uint8], out: NDArray[np.uint32]) -> None:
    for i in range(np.uint64(out.shape[0])):
        low = np.uint32(planes[0, i]) | np.uint32(planes[1, i]) << np.uint32(8)
        out[i] = low | np.uint32(planes[2, i]) << np.uint32(16) | np.uint32(planes[3, i]) << np.uint32(24)


@njit(nogil=True, cache=True)
def _join_8(planes: NDArray[np.uint8], out: NDArray[np.uint64]) -> None:
    for i in range(np.uint64(out.shape[0])):
        value = np.uint64(0)
        for k in range(np.uint64(8)):
            value |= np.uint64(planes[k, i]) << np.uint64(8) * k
        out[i] = value


@njit(nogil=True, cache=True)
def _split(values: NDArray[np.unsignedinteger], plane: NDArray[np.uint8], shift: np.unsignedinteger) -> None:
    for i in range(np.uint64(values.shape[0])):
        plane[i] = np.uint8(values[i] >> shift)


_KERNELS: dict[int, Any] = {2: _join_2, 4: _join_4, 8: _join_8} if sys.byteorder == "little" else {}


def shuffle(values: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    """Put the first bytes of all values of `itemsize` bytes side by side, then the second ones, and so on.

    Parameters
    ----------
    values
        Whole values.
    itemsize
        Bytes of a value.
    """
    if itemsize == 1:
        return values
    if itemsize not in _KERNELS:
        return np.ascontiguousarray(values.reshape(-1, itemsize).T).reshape(-1)
    numbers = values.view(f"u{itemsize}")
    planes = np.empty((itemsize, numbers.size), dtype=np.uint8)
    for k, plane in enumerate(planes):
        _split(numbers, plane, numbers.dtype.type(8 * k))
    return planes.reshape(-1)


def unshuffle(shuffled: NDArray[np.uint8], itemsize: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Put the bytes of values of `itemsize` bytes together again.

    Parameters
    ----------
    shuffled
        Whole values; as `np.frombuffer` gives them, read-only.
    itemsize
        Bytes of a value.
    out
        Where to put them.
    """
    if out is None:
        out = np.empty(shuffled.size, dtype=np.uint8)
    kernel = _KERNELS.get(itemsize)
    if kernel is None:
        out[:] = unshuffle_reference(shuffled, itemsize)
    else:
        kernel(shuffled.reshape(itemsize, -1), out.view(f"u{itemsize}"))
    return out


def unshuffle_reference(shuffled: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    """Do what :func:`unshuffle` does, as a transposition."""
    return np.ascontiguousarray(shuffled.reshape(itemsize, -1).T).reshape(-1)


class Shuffle(Codec):
    """The filter shuffle."""

    name = "shuffle"

    def decode(self, stored: Stored, n_bytes: int, itemsize: int) -> Stored:
        """Put the bytes of values together again."""
        if len(stored) != n_bytes:
            msg = f"it holds {len(stored)} bytes, not {n_bytes}"
            raise ValueError(msg)
        return stored if itemsize == 1 else unshuffle(np.frombuffer(stored, dtype=np.uint8), itemsize).data

    def encode(self, content: NDArray[np.uint8], itemsize: int) -> memoryview:
        """Put the first bytes of all values side by side, then the second ones, and so on."""
        return shuffle(content, itemsize).data
