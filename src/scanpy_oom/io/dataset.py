"""Appending to an HDF5 dataset: chunks are compressed on threads and written as they are."""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from h5py._objects import phil

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

__all__ = ["DatasetWriter"]


class _Filters(NamedTuple):
    """What becomes of a chunk on its way to the file: bytes of like significance side by side, then zlib."""

    shuffle: bool
    level: int | None

    def encode(self, chunk: NDArray[Any]) -> NDArray[Any] | bytes:
        """Return a chunk as HDF5 stores it."""
        content = np.ascontiguousarray(chunk)
        if self.shuffle:
            content = np.ascontiguousarray(content.reshape(-1).view(np.uint8).reshape(-1, chunk.itemsize).T)
        return content if self.level is None else zlib.compress(content.data, self.level)


def _filters(dataset: h5py.Dataset) -> _Filters | None:
    """Return the filters of a dataset, None if they are others than those that :class:`_Filters` knows."""
    properties = dataset.id.get_create_plist()
    found = {code: values for code, _, values, _ in map(properties.get_filter, range(properties.get_nfilters()))}
    level = int(found[h5py.h5z.FILTER_DEFLATE][0]) if h5py.h5z.FILTER_DEFLATE in found else None
    known = {
        (): _Filters(shuffle=False, level=None),
        (h5py.h5z.FILTER_SHUFFLE,): _Filters(shuffle=True, level=None),
        (h5py.h5z.FILTER_DEFLATE,): _Filters(shuffle=False, level=level),
        (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE): _Filters(shuffle=True, level=level),
    }
    return known.get(tuple(found))


class DatasetWriter:
    """Appends to a dataset along its first axis, whole chunks at a time.

    Chunks of the filters that most files have (none, gzip, shuffle) are compressed on threads, and written past HDF5's
    own filters, which know but one thread. All else goes through h5py.

    Parameters
    ----------
    dataset
        The dataset. It grows as it must.
    pool
        Threads that compress.
    ahead
        Chunks that may wait to be written.
    """

    def __init__(self, dataset: h5py.Dataset, pool: ThreadPoolExecutor, ahead: int) -> None:
        self._dataset = dataset
        self._pool = pool
        self._ahead = ahead
        chunks = dataset.chunks
        whole_rows = chunks is not None and chunks[1:] == dataset.shape[1:]
        self._filters = _filters(dataset) if whole_rows else None
        self._step = 1 if chunks is None else chunks[0]
        self._waiting: list[NDArray[Any]] = []
        self._n_waiting = 0
        self._started = 0
        self._encoded: deque[tuple[int, Future[NDArray[Any] | bytes]]] = deque()

    @property
    def n_rows(self) -> int:
        """Rows appended so far."""
        return self._started + self._n_waiting

    def append(self, rows: NDArray[Any]) -> None:
        """Append `rows`, whose dtype becomes that of the dataset. They are not to change afterwards."""
        self._waiting.append(rows.astype(self._dataset.dtype, copy=False))
        self._n_waiting += rows.shape[0]
        whole = self._n_waiting - self._n_waiting % self._step
        if whole:
            self._flush(whole)

    def close(self) -> None:
        """Write all that waits."""
        if self._n_waiting:
            self._flush(self._n_waiting)
        while self._encoded:
            self._put()

    def _flush(self, n_rows: int) -> None:
        """Write the first `n_rows` of what waits."""
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting = [rows[n_rows:]]
        self._n_waiting -= n_rows
        stop = self._started + n_rows
        if self._dataset.shape[0] < stop:
            self._dataset.resize(stop, axis=0)
        if self._filters is None:
            self._dataset[self._started : stop] = rows[:n_rows]
        else:
            for first in range(0, n_rows, self._step):
                self._encode(self._started + first, rows[first : min(first + self._step, n_rows)])
        self._started = stop

    def _encode(self, start: int, chunk: NDArray[Any]) -> None:
        assert self._filters is not None
        if chunk.shape[0] < self._step:  # chunks at the edge are stored as large as the others
            chunk = np.concatenate([chunk, np.zeros((self._step - chunk.shape[0], *chunk.shape[1:]), chunk.dtype)])
        self._encoded.append((start, self._pool.submit(self._filters.encode, chunk)))
        while len(self._encoded) > self._ahead:
            self._put()

    def _put(self) -> None:
        start, encoded = self._encoded.popleft()
        content = encoded.result()
        with phil:  # which this method of h5py does not take itself before 3.16
            self._dataset.id.write_direct_chunk((start, *(0,) * (self._dataset.ndim - 1)), content)
