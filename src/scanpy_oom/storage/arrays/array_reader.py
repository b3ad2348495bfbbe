"""One-dimensional arrays, read by runs of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

import numpy as np

from ...memory.buffer_pool import BUFFERS
from ...settings import settings
from ..abc import ReadCost, Value
from ..chunk_cache import SharedChunks
from .ranges import Pieces, Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import ChunkedArray
    from .validation import Conversion

__all__ = ["StoredArray", "wrong_offsets"]

_CACHE_NBYTES = 2**21
_SHARE = 16  # of the memory limit, beyond which no more is kept than two chunks


class StoredArray(Generic[Value]):
    """A one-dimensional array, of whose chunks those are kept that other reads share.

    Parameters
    ----------
    chunks
        Its chunks.
    dtype
        What `convert` returns.
    convert
        What is done to each chunk where it is decoded, while it is in the processor's cache.

    Attributes
    ----------
    n_readers
        Threads that may read pieces at once, so that each chunk is still decoded once.
    """

    def __init__(self, chunks: ChunkedArray, dtype: np.dtype[Value], convert: Conversion[Value]) -> None:
        self.chunks = chunks
        self.dtype = dtype
        self._convert = convert
        self._bounds = convert.bounds(self.chunks.stored_dtype)
        # Neighbouring reads share the chunk on their border. Each thread may wait for others at both ends of the block
        # that it reads, and where it began.
        chunk_nbytes = self.chunks.chunk_shape[0] * dtype.itemsize
        capacity = max(_CACHE_NBYTES, 3 * settings.n_threads * chunk_nbytes)
        if capacity > _CACHE_NBYTES:
            capacity = max(min(capacity, settings.memory_limit // _SHARE), 2 * chunk_nbytes)
        self._shared: SharedChunks[Value] = SharedChunks(capacity)
        self.n_readers = max(1, capacity // (3 * max(chunk_nbytes, 1)))

    def __len__(self) -> int:
        return self.chunks.shape[0]

    def read(self, runs: Runs, dtype: np.dtype[Value] | None = None) -> NDArray[Value]:
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

    def _read_run(self, start: int, stop: int, out: NDArray[Value]) -> None:
        """Read one run, as most blocks are: with little to do between two chunks, where threads wait for each other."""
        if start == stop:
            return
        size = self.chunks.chunk_shape[0]
        first, end = start // size, -(-stop // size)
        whole = slice(-(-start // size), end if stop == len(self) else stop // size)
        # The chunk at the end comes first, the one at the beginning last. By then whoever reads what precedes has
        # decoded it, and neither thread has waited for the other.
        if end > whole.stop and end - 1 >= whole.start:
            self._read_part(end - 1, start, stop, out)
        if whole.start < whole.stop:
            self._read_whole(whole.start, whole.stop, out[whole.start * size - start :])
        if first < whole.start:
            self._read_part(first, start, stop, out)

    def _read_part(self, i: int, start: int, stop: int, out: NDArray[Value]) -> None:
        """Copy what lies between `start` and `stop` out of a chunk, which is kept for whoever reads the rest."""
        origin = i * self.chunks.chunk_shape[0]
        values = self._shared.part(i, max(start - origin, 0), stop - origin, lambda: self._decode(i))
        at = max(origin - start, 0)
        out[at : at + len(values)] = values

    def _read_whole(self, first: int, stop: int, out: NDArray[Value]) -> None:
        """Read chunks that are wanted as a whole, but those that are kept."""
        size = self.chunks.chunk_shape[0]
        fetched = first
        for i in range(first, stop):
            values = self._shared.get(i)
            if values is not None:
                self._fetch(fetched, i, out[(fetched - first) * size : (i - first) * size])
                at, fetched = (i - first) * size, i + 1
                out[at : at + len(values)] = values
        self._fetch(fetched, stop, out[(fetched - first) * size :])

    def _fetch(self, first: int, stop: int, out: NDArray[Value]) -> None:
        """Read chunks from the file: those at the beginning in a compiled loop, if it will, the others one by one."""
        size = self.chunks.chunk_shape[0]
        done = 0 if self._bounds is None else self.chunks.inflate(first, stop, self._bounds, out)
        for i, values in enumerate(self.chunks.read_each(first + done, stop), done):
            out[i * size : i * size + len(values)] = self._convert(values, (first + i) * size)

    def read_all(self) -> NDArray[Value]:
        """Read the whole array."""
        ends = (np.array([0]), np.array([len(self)]))
        return self.read(Runs(*ends) if len(self) else Runs(ends[0][:0], ends[1][:0]))

    def _chunk(self, i: int, *, keep: bool) -> NDArray[Value]:
        if keep:
            return self._shared.get_or_make(i, lambda: self._decode(i))
        values = self._shared.get(i)
        return self._decode(i) if values is None else values

    def _decode(self, i: int) -> NDArray[Value]:
        size = self.chunks.chunk_shape[0]
        values = BUFFERS.empty(min(size, len(self) - i * size), self.dtype)
        self._fetch(i, i + 1, values)
        return values

    def estimate_read(self, starts: NDArray[np.int64], stops: NDArray[np.int64], n_blocks: int) -> ReadCost:
        """Estimate what is fetched for the elements from each start to its stop.

        Parameters
        ----------
        starts, stops
            Ascending, and none of the ranges is empty.
        n_blocks
            Reads between which the chunk on a border must be kept, for it to be fetched once.
        """
        cost = self.chunks.estimate_read(starts, stops)
        is_kept = n_blocks == 1 or 8 * n_blocks * self.chunks.chunk_shape[0] <= _CACHE_NBYTES
        return ReadCost(cost.nbytes, cost.certain and is_kept)

    def begin(self) -> None:
        """Begin a pass."""
        self._shared.begin()

    def close(self) -> None:
        """Release what reading keeps."""
        self._shared.clear()
        self.chunks.close()


def wrong_offsets(indptr: NDArray[np.integer], nnz: int) -> str | None:
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
