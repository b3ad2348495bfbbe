"""A row group: some rows of a compact copy.

Counts, of which most are small, take little more than a byte with their columns (:mod:`scanpy_oom.kernels.codes`). Of
other values, distances between columns and the values themselves are held apart, both in the narrowest types that hold
them exactly. Either is compressed by zstd, but for counts that take little more than a byte without.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...kernels import LONGEST_CODE, decode_counts, decode_deltas, encode_counts, encode_deltas, narrow_counts
from ...kernels.codes import Layout
from ...storage.codecs.shuffle import shuffle, unshuffle
from ...storage.codecs.zstd import compress, decompress_into

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...storage.abc import Values

    Out = tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]
    """Rows and columns that are wanted, and where lengths of rows, columns and values go."""

__all__ = ["PIECE", "Counts", "Deltas", "encode", "narrow"]

PIECE = 2**16
"""Entries of a piece, which is decoded as a whole."""

_CLOSE = 24
"""Columns from one entry to the next, on average, up to which six bits hold most distances; beyond, seven."""


_SHORT = 1.2
"""Bytes an entry up to which a code is not compressed: that would take a fifth of its room away, and a third more time
to write and to read it."""


class Counts(NamedTuple):
    """Encoding of counts: the parts of the code, and its compression."""

    layout: Layout
    compressed: bool

    def decode(self, packed: memoryview, lengths: NDArray[np.int32], *arguments: *Out) -> int:
        """Do what :func:`~scanpy_oom.kernels.decode_counts` does with the code."""
        code = np.frombuffer(packed, dtype=np.uint8)
        if self.compressed:
            code = _BUFFERS.take("code", self.layout.nbytes)
            decompress_into(packed, code)
        return int(decode_counts(lengths, code, self.layout, *arguments))


class Deltas(NamedTuple):
    """Encoding of other values: types of distances and values, their bytes, and bytes of packed distances."""

    dtypes: tuple[str, str]
    sizes: tuple[int, int]
    split: int

    def decode(self, packed: memoryview, lengths: NDArray[np.int32], *arguments: *Out) -> int:
        """Do what :func:`~scanpy_oom.kernels.decode_deltas` does with distances and values."""
        deltas, values = (
            _unpack(part, _BUFFERS.take(name, size), np.dtype(dtype))
            for name, part, size, dtype in zip(
                ("deltas", "values"), (packed[: self.split], packed[self.split :]), self.sizes, self.dtypes, strict=True
            )
        )
        return int(decode_deltas(lengths, deltas, values, *arguments))


def encode(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], data: Values, n_columns: int
) -> tuple[bytes, Counts | Deltas]:
    """Encode rows, of which there are `n_columns` columns; these increase. `indptr` need not start at 0."""
    n_rows, nnz = indptr.size - 1, int(indptr[-1] - indptr[0])
    gap_bits = 6 if n_rows * n_columns <= _CLOSE * nnz else 7
    buffer = _BUFFERS.take("code", LONGEST_CODE * nnz + 1)
    found = encode_counts(indptr, indices, data, gap_bits, buffer)
    if found is not None:
        layout = Layout(*found)
        code, compressed = buffer[: layout.nbytes], layout.nbytes > _SHORT * nnz
        return compress(code) if compressed else code.tobytes(), Counts(layout, compressed)
    part = slice(indptr[0], indptr[-1])
    deltas, values = _deltas(indptr - indptr[0], indices[part]), narrow(data[part])
    packed = _pack(deltas), _pack(values)
    dtypes = deltas.dtype.str, values.dtype.str
    return b"".join(packed), Deltas(dtypes, (deltas.nbytes, values.nbytes), len(packed[0]))


def _pack(values: Values) -> bytes:
    # bytes of like significance side by side: most of the higher ones are zeros
    return compress(shuffle(values.view(np.uint8), values.dtype.itemsize))


def _unpack(packed: memoryview, out: NDArray[np.uint8], dtype: np.dtype) -> NDArray[Any]:
    if dtype.itemsize == 1:
        decompress_into(packed, out)
    else:
        shuffled = _BUFFERS.take("shuffled", out.size)
        decompress_into(packed, shuffled)
        unshuffle(shuffled, dtype.itemsize, out)
    return out.view(dtype)


class _Buffers(threading.local):
    """Arrays of a thread that are used again: taking new memory takes longer than to fill it."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, n_bytes: int) -> NDArray[np.uint8]:
        """Return the array of that name, with what it happens to hold, which lasts until the next call."""
        array = self._arrays.get(name)
        if array is None or array.size < n_bytes:
            array = self._arrays[name] = np.empty(max(n_bytes, 4 * PIECE), dtype=np.uint8)
        return array[:n_bytes]


_BUFFERS = _Buffers()


def _deltas(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.uint16 | np.uint32]:
    narrow = np.empty(indices.size, dtype=np.uint16)
    if encode_deltas(indptr, indices, narrow):
        return narrow
    wide = np.empty(indices.size, dtype=np.uint32)
    encode_deltas(indptr, indices, wide)
    return wide


def narrow(data: Values) -> Values:
    """Hold values in the narrowest type that holds each exactly."""
    for dtype in (np.uint8, np.uint16, np.uint32):
        counts: NDArray[np.unsignedinteger] = np.empty(data.size, dtype=dtype)
        if narrow_counts(data, counts):
            return counts
    if data.dtype == np.float64:
        with np.errstate(over="ignore"):
            single = data.astype(np.float32)
        if np.array_equal(single, data, equal_nan=True):
            return single
    return data
