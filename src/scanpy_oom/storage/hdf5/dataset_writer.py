"""Appending to an HDF5 dataset: chunks are compressed on threads and written as they are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from h5py._objects import phil

from ..appender import Appender, Encoder
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


@dataclass(frozen=True, slots=True)
class ChunkEncoder(Encoder["list[Stored]"]):
    """Compresses the chunks of a dataset.

    Parameters
    ----------
    step
        Rows of a chunk.
    dtype
        Type of the dataset.
    filters
        Its filters.
    """

    step: int
    dtype: np.dtype
    filters: FilterPipeline

    def encode(self, start: int, rows: Values) -> list[Stored]:
        """Return the chunks as they are stored; one at the edge is as large as the others."""
        rows = rows.astype(self.dtype, copy=False)
        return [bytes(self.chunk(rows[first : first + self.step])) for first in range(0, rows.shape[0], self.step)]

    def chunk(self, rows: Values) -> Stored:
        """Return a chunk as it is stored."""
        if rows.shape[0] < self.step:
            rows = np.concatenate([rows, np.zeros((self.step - rows.shape[0], *rows.shape[1:]), rows.dtype)])
        return self.filters.encode(rows)


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
        filters = _filters(dataset) if whole_rows else None
        self._chunks = None if filters is None else ChunkEncoder(self._step, dataset.dtype, filters)
        self._encoded: deque[tuple[int, Future[Stored]]] = deque()

    def close(self) -> None:
        """Write all that waits."""
        super().close()
        while self._encoded:
            self._put()

    def _write(self, start: int, rows: Values) -> None:
        if self._chunks is None:
            super()._write(start, rows)
            return
        for first in range(0, rows.shape[0], self._step):
            chunk = self._pool.submit(self._chunks.chunk, rows[first : first + self._step])
            self._encoded.append((start + first, chunk))
            while len(self._encoded) > self._ahead:
                self._put()

    def _put(self) -> None:
        start, encoded = self._encoded.popleft()
        self._store(start, encoded.result())

    def _store(self, start: int, chunk: Stored) -> None:
        with phil:  # which this method of h5py does not take itself before 3.16
            self._dataset.id.write_direct_chunk((start, *(0,) * (self._dataset.ndim - 1)), chunk)

    def _encoder(self) -> Encoder[Any]:
        return super()._encoder() if self._chunks is None else self._chunks

    def put(self, start: int, encoded: Any) -> None:
        """Write a part."""
        if self._chunks is None:
            super().put(start, encoded)
            return
        for k, chunk in enumerate(encoded):
            self._store(start + k * self._step, chunk)
