"""Appending to an HDF5 dataset: chunks are compressed on threads and written as they are."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from h5py._objects import phil

from ..appender import Appender
from ..codecs.pipeline import FilterPipeline

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import h5py

    from ..abc import Stored, Values

__all__ = ["DatasetWriter"]


def _filters(dataset: h5py.Dataset) -> FilterPipeline | None:
    """Return the filters of a dataset, None if they are others than chunks are encoded with here."""
    pipeline = FilterPipeline.of(dataset, dataset.name)
    return pipeline if pipeline.is_written(dataset.dtype.itemsize) else None


class DatasetWriter(Appender):
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
        chunks = dataset.chunks
        super().__init__(dataset, 1 if chunks is None else chunks[0])
        self._dataset = dataset
        self._pool = pool
        self._ahead = ahead
        whole_rows = chunks is not None and chunks[1:] == dataset.shape[1:]
        self._filters = _filters(dataset) if whole_rows else None
        self._encoded: deque[tuple[int, Future[Stored]]] = deque()

    def close(self) -> None:
        """Write all that waits."""
        super().close()
        while self._encoded:
            self._put()

    def _write(self, start: int, rows: Values) -> None:
        if self._filters is None:
            super()._write(start, rows)
            return
        for first in range(0, rows.shape[0], self._step):
            self._encode(self._filters, start + first, rows[first : first + self._step])

    def _encode(self, filters: FilterPipeline, start: int, chunk: Values) -> None:
        if chunk.shape[0] < self._step:  # chunks at the edge are stored as large as the others
            chunk = np.concatenate([chunk, np.zeros((self._step - chunk.shape[0], *chunk.shape[1:]), chunk.dtype)])
        self._encoded.append((start, self._pool.submit(filters.encode, chunk)))
        while len(self._encoded) > self._ahead:
            self._put()

    def _put(self) -> None:
        start, encoded = self._encoded.popleft()
        content = encoded.result()
        with phil:  # which this method of h5py does not take itself before 3.16
            self._dataset.id.write_direct_chunk((start, *(0,) * (self._dataset.ndim - 1)), content)
