"""One-dimensional HDF5 datasets, read by runs of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CorruptFileError
from .cache import LRUCache
from .chunked import open_chunks
from .runs import Pieces, Runs

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from .file import SourceFile

__all__ = ["Convert", "StoredArray", "check_indices", "to_values"]

Convert = Callable[["NDArray[Any]", int], "NDArray[Any]"]
"""Turns the decoded values of a chunk, the first of which has the given position, into what the caller wants."""

_CACHE_NBYTES = 2**22


class StoredArray:
    """A one-dimensional dataset.

    Parameters
    ----------
    file
        The file that holds it.
    dataset
        The dataset, open with h5py; only its description is kept.
    dtype
        What `convert` returns.
    convert
        What is done to each chunk where it is decoded, while it is in the processor's cache.
    """

    def __init__(self, file: SourceFile, dataset: h5py.Dataset, dtype: np.dtype[Any], convert: Convert) -> None:
        self.chunks = open_chunks(file, dataset)
        self.dtype = dtype
        self._convert = convert
        # Neighbouring reads share the chunk on their border.
        chunk_nbytes = self.chunks.chunk_shape[0] * dtype.itemsize
        self._cache: LRUCache[NDArray[Any]] = LRUCache(max(_CACHE_NBYTES, 2 * chunk_nbytes))

    def __len__(self) -> int:
        return self.chunks.shape[0]

    def read(self, runs: Runs, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Read the elements of `runs` into a new array, which may be of a wider type.

        Chunks that intersect none of them are not fetched.
        """
        out = np.empty(runs.size, dtype=dtype or self.dtype)
        size = self.chunks.chunk_shape[0]
        for pieces in Pieces.split(runs, size):
            whole = pieces.size == min(size, len(self) - pieces.chunk * size)
            pieces.copy(self._chunk(pieces.chunk, keep=not whole), out)
        return out

    def read_all(self) -> NDArray[Any]:
        """Read the whole dataset."""
        ends = (np.array([0]), np.array([len(self)]))
        return self.read(Runs(*ends) if len(self) else Runs(ends[0][:0], ends[1][:0]))

    def _chunk(self, i: int, *, keep: bool) -> NDArray[Any]:
        if keep:
            return self._cache.get_or_make(i, lambda: _with_size(self._decode(i)))
        values = self._cache.get(i)
        return self._decode(i) if values is None else values

    def _decode(self, i: int) -> NDArray[Any]:
        return self._convert(self.chunks.read(i), i * self.chunks.chunk_shape[0])

    def close(self) -> None:
        """Release what reading keeps."""
        self._cache.clear()
        self.chunks.close()


def _with_size(values: NDArray[Any]) -> tuple[NDArray[Any], int]:
    return values, values.nbytes


def to_values(dtype: np.dtype[Any]) -> Convert:
    """Give the conversion of stored values to `dtype`."""

    def convert(values: NDArray[Any], position: int) -> NDArray[Any]:
        if values.dtype == np.bool_:  # any byte but 0 is true
            values = values.view(np.uint8) != 0
        return values.astype(dtype, copy=False)

    return convert


def check_indices(location: str, n: int) -> Convert:
    """Give the conversion of stored indices to int32, which verifies that they lie within `[0, n)`.

    A kernel that trusts its indices would otherwise write out of bounds. One comparison per index is enough: seen as
    unsigned numbers, the negative ones are the largest.
    """

    def convert(values: NDArray[Any], position: int) -> NDArray[np.int32]:
        if values.dtype.itemsize < 4:
            values = values.astype(np.int32)
        if values.size and values.view(f"u{values.dtype.itemsize}").max() >= n:
            at = int(np.argmax((values < 0) | (values >= n)))
            msg = (
                f"{location} holds {values[at]} at position {position + at}; indices there lie between 0 and {n - 1}. "
                "The file is damaged; fetch or write it again."
            )
            raise CorruptFileError(msg)
        return values.astype(np.int32, copy=False)

    return convert
