"""One-dimensional HDF5 datasets, read by runs of elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CorruptFileError, OOMError
from ..settings import settings
from .buffers import BUFFERS
from .cache import LRUCache
from .runs import Pieces, Runs, row_runs

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from .file import SourceFile

__all__ = ["MAX_EXACT", "Convert", "StoredArray", "check_indices", "to_values", "wrong_offsets"]

Convert = Callable[..., "NDArray[Any]"]
"""Turns the decoded values of a chunk, the first of which has the given position, into what the caller wants."""

_CACHE_NBYTES = 2**22
_SHARE = 16  # of the memory limit, beyond which no more is kept than two chunks
MAX_EXACT = 2**53
"""The integer up to which float64, in which all is computed, holds every one."""


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
        self.chunks = file.chunks(dataset)
        self.dtype = dtype
        self._convert = convert
        # Neighbouring reads share the chunk on their border, and each thread is somewhere else.
        chunk_nbytes = self.chunks.chunk_shape[0] * dtype.itemsize
        capacity = max(_CACHE_NBYTES, (settings.n_threads + 1) * chunk_nbytes)
        if capacity > _CACHE_NBYTES:
            capacity = max(min(capacity, settings.memory_limit // _SHARE), 2 * chunk_nbytes)
        self._cache: LRUCache[NDArray[Any]] = LRUCache(capacity)

    def __len__(self) -> int:
        return self.chunks.shape[0]

    def read(self, runs: Runs, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Read the elements of `runs` into a new array, which may be of a wider type.

        Chunks that intersect none of them are not fetched.
        """
        out = BUFFERS.empty(runs.size, dtype or self.dtype)
        if len(runs.starts) == 1:
            self._read_run(int(runs.starts[0]), int(runs.stops[0]), out)
            return out
        size = self.chunks.chunk_shape[0]
        for pieces in Pieces.split(runs, size):
            whole = pieces.size == min(size, len(self) - pieces.chunk * size)
            pieces.copy(self._chunk(pieces.chunk, keep=not whole), out)
        return out

    def _read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read one run, as most blocks are: with little to do between two chunks, where threads wait for each other."""
        if start == stop:
            return
        size = self.chunks.chunk_shape[0]
        end = -(-stop // size)
        # of the chunks at both ends a part may be wanted: these are kept for who reads on from there
        first, last = -(-start // size), end if stop == len(self) else stop // size
        for i in {start // size, end - 1} - set(range(first, last)):
            origin = i * size
            part = slice(max(start, origin), min(stop, origin + size))
            values = self._chunk(i, keep=True)[part.start - origin : part.stop - origin]
            out[part.start - start : part.stop - start] = values
        for i, values in self._whole(first, last):
            at = i * size - start
            out[at : at + len(values)] = values

    def _whole(self, first: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield chunks that are wanted as a whole, with their numbers."""
        missing = []
        for i in range(first, stop):
            values = self._cache.get(i)
            if values is None:
                missing.append(i)
            else:
                yield i, values
        for run in zip(*row_runs(np.array(missing, dtype=np.int64), stop), strict=True):
            for i, values in enumerate(self.chunks.read_each(*run), int(run[0])):
                yield i, self._convert(values, i * self.chunks.chunk_shape[0])

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


def to_values(dtype: np.dtype[Any], location: str) -> Convert:
    """Give the conversion of stored values to `dtype`, which verifies that it holds them.

    Only integers of 64 bits can be too large for it.
    """

    def convert(values: NDArray[Any], *origin: int) -> NDArray[Any]:
        if values.dtype == np.bool_:  # any byte but 0 is true
            values = values.view(np.uint8) != 0
        if dtype.kind == "f" and values.dtype.kind in "iu" and values.dtype.itemsize == 8:
            _check_exact(values, location, origin)
        return values.astype(dtype, copy=False)

    return convert


def _check_exact(values: NDArray[Any], location: str, origin: tuple[int, ...]) -> None:
    """Raise OOMError where float64, in which all is computed, would hold another integer than is stored."""
    if values.size and (values.max() > MAX_EXACT or values.min() < -MAX_EXACT):
        found = np.unravel_index(np.argmax((values > MAX_EXACT) | (values < -MAX_EXACT)), values.shape)
        at = ", ".join(str(start + int(i)) for start, i in zip(origin, found, strict=True))
        msg = (
            f"{location} holds {values[found]} at position {at}. Out of memory, values are float64, which is exact for "
            f"integers up to {MAX_EXACT} only. Read the file without `backed='oom'`."
        )
        raise OOMError(msg)


def wrong_offsets(indptr: NDArray[Any], nnz: int) -> str | None:
    """Say what keeps `indptr` from being the offsets of `nnz` entries, as what comes after "The matrix"."""
    if indptr[0] != 0:
        return f"has an indptr that starts at {indptr[0]}, not at 0"
    decreasing = indptr[1:] < indptr[:-1]
    if decreasing.any():
        at = int(np.argmax(decreasing))
        return (
            f"has an indptr that decreases from {indptr[at]} at position {at} to {indptr[at + 1]}; "
            "it must never decrease"
        )
    if indptr[-1] != nnz:
        return f"has an indptr that ends at {indptr[-1]}; it must end at {nnz}"
    return None


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
