"""Entries of a matrix in scratch files, in coarse buckets of columns, for what needs all of a column at once."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from scipy import sparse

from ..kernels import partition_entries
from ..memory.malloc_trim import return_freed_memory
from ..settings import settings
from ..storage.scratch.file import ScratchArray, SharedArray, check_scratch_space
from .reduction import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..storage.abc import Floats
    from .block import Block

T = TypeVar("T")

__all__ = ["BUCKET", "Batch", "Buckets", "ByBuckets", "Written"]

BUCKET = 2**21
"""Entries of a bucket of columns, all of which are in memory when it is read."""

BATCH = 2**20
"""Entries that wait to be put in the order of buckets: enough for a bucket's share to be read at once."""

_ENTRY = 12
"""Bytes of an entry: column, label and value."""


class Written(NamedTuple):
    """Entries that some process has written for others: folder and name of its files, and where buckets start there.

    `segments` is `(n_segments, n_buckets + 1)`.
    """

    folder: str
    name: str
    segments: NDArray[np.int64]


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.{part}" for part in ("columns", "labels", "values")]


class Buckets:
    """Entries in scratch files, in coarse buckets of columns, each of which is read by itself. Threads may add at once.

    Parameters
    ----------
    bounds
        `(n_buckets + 1,)` columns where buckets start and end.
    dtype
        Dtype in which values are written.
    nbytes
        Bytes that all of it will take.
    purpose
        What the space is for, for messages.
    """

    def __init__(self, bounds: NDArray[np.intp], dtype: np.dtype, nbytes: int, purpose: str) -> None:
        self.bounds = bounds
        self.of_column = np.repeat(np.arange(bounds.size - 1, dtype=np.int32), np.diff(bounds))
        self.dtype = dtype
        self.nbytes = nbytes
        self._purpose = purpose
        self._files: list[ScratchArray] = []
        self._segments: list[NDArray[np.int64]] = []
        self._end = 0
        self._lock = threading.Lock()
        self._place: tuple[Path, str] | None = None
        self._others: list[Written] = []

    def __len__(self) -> int:
        return self.bounds.size - 1

    def columns(self, bucket: int) -> slice:
        """Return the columns of a bucket."""
        return slice(int(self.bounds[bucket]), int(self.bounds[bucket + 1]))

    def put(
        self, starts: NDArray[np.int64], columns: NDArray[np.int32], labels: NDArray[np.int32], values: Floats
    ) -> None:
        """Write entries that are in the order of buckets, of which each starts at one of `starts`.

        Raises
        ------
        ScratchSpaceError
            If there is no room.
        """
        with self._lock:
            if not self._files:
                check_scratch_space(self.nbytes, self._purpose)
                self._files = self._new_files()
            at, self._end = self._end, self._end + int(starts[-1])
            self._segments.append(starts + at)
        for file, array in zip(self._files, (columns, labels, values), strict=True):
            file.write(array[: starts[-1]], at)

    def _new_files(self) -> list[ScratchArray]:
        if self._place is None:
            return [ScratchArray(dtype) for dtype in self._dtypes()]
        folder, name = self._place
        paths = _paths(folder, name)
        return [SharedArray(path, dtype, new=True) for path, dtype in zip(paths, self._dtypes(), strict=True)]

    def _dtypes(self) -> tuple[np.dtype, ...]:
        return np.dtype(np.int32), np.dtype(np.int32), self.dtype

    def share(self, folder: Path, name: str) -> None:
        """Write to files of some name in a folder, from which other processes read."""
        self._place = folder, name

    def written(self) -> list[Written]:
        """Return what was written, for other processes to read."""
        if not self._segments or self._place is None:
            return self._others
        folder, name = self._place
        return [*self._others, Written(str(folder), name, np.array(self._segments))]

    def add(self, others: Iterable[Written]) -> None:
        """Read, too, what others have written."""
        self._others = [*self._others, *others]

    def of_others(self, others: Iterable[Written]) -> Buckets:
        """Return the same buckets with what others have written, and nothing of this process."""
        found = Buckets(self.bounds, self.dtype, self.nbytes, self._purpose)
        found.add(others)
        found._place = self._place
        return found

    def sizes(self) -> NDArray[np.int64]:
        """Count the entries of each bucket."""
        return np.diff(np.array(self._segments).reshape(-1, self.bounds.size), axis=1).sum(axis=0)

    def sort_by_label(self) -> None:
        """Put what threads have written in the order of labels, of which those of one write lie between no others."""
        first, keys = np.empty(1, dtype=np.int32), []
        for starts in self._segments:
            self._files[1].read(int(starts[0]), first)
            keys.append(int(first[0]))
        self._segments = [self._segments[k] for k in np.argsort(keys)]

    def read(self, bucket: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
        """Return columns, labels and values of the entries of a bucket."""
        runs = [(self._files, s[bucket], s[bucket + 1]) for s in self._segments]
        for other in self._others:
            files = self._opened(other)
            runs += [(files, s[bucket], s[bucket + 1]) for s in other.segments]
        n = sum(stop - start for _, start, stop in runs)
        arrays = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32), np.empty(n, dtype=self.dtype)
        at = 0
        for files, start, stop in runs:
            for file, array in zip(files, arrays, strict=True):
                file.read(int(start), array[at : at + stop - start])
            at += stop - start
        return arrays

    def _opened(self, other: Written) -> list[ScratchArray]:
        paths = _paths(Path(other.folder), other.name)
        return [SharedArray(path, dtype, new=False) for path, dtype in zip(paths, self._dtypes(), strict=True)]

    def each(self, function: Callable[[int], T], n_threads: int | None = None) -> Generator[tuple[int, T]]:
        """Call a function for each bucket, on threads; yield what it returns, and give the scratch space back."""
        return_freed_memory()  # by the threads of the pass, which are others
        try:
            with ThreadPoolExecutor(n_threads or settings.n_threads, thread_name_prefix="scanpy-oom") as pool:
                waiting = deque(pool.submit(function, k) for k in range(len(self)))
                try:
                    for k in range(len(self)):
                        yield k, waiting.popleft().result()
                finally:
                    for future in waiting:
                        future.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Give the scratch space back."""
        for file in self._files:
            file.close()


class Batch:
    """Rows that wait to be put in the order of buckets.

    Parameters
    ----------
    buckets
        Where they go.
    """

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self._rows: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]] = []
        self._n_entries = 0

    def add(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float64],
        labels: NDArray[np.int32],
    ) -> None:
        """Add rows, each of which has a label."""
        self._rows.append((indptr, indices, values, labels))
        self._n_entries += indices.size
        if self._n_entries >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._n_entries:
            return
        buckets = self.buckets
        lengths = np.concatenate([np.diff(indptr) for indptr, *_ in self._rows])
        indices, values, codes = (np.concatenate([row[k] for row in self._rows]) for k in (1, 2, 3))
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        starts = np.zeros(buckets.bounds.size, dtype=np.int64)
        columns, labels = np.empty(indices.size, dtype=np.int32), np.empty(indices.size, dtype=np.int32)
        out = np.empty(indices.size, dtype=buckets.dtype)
        partition_entries(indptr, indices, values, codes, buckets.of_column, starts, columns, labels, out)
        buckets.put(starts, columns, labels, out)
        self._rows, self._n_entries = [], 0


class ByBuckets(Reduction):
    """Writes what is stored to scratch, in coarse buckets of columns, each of which is then read by itself.

    Parameters
    ----------
    labels
        `(n_rows,)` a number of each row, which goes with its entries.
    """

    only_here = "sorting in scratch space of this machine"

    def __init__(self, labels: NDArray[np.integer]) -> None:
        self.labels = np.asarray(labels, dtype=np.int32)

    def _prepare(self, matrix: OOMMatrix, dtype: np.dtype, purpose: str, *, bucket: int = BUCKET) -> None:
        """Decide on the buckets, which have about as many entries, and on the dtype in which values are written."""
        self._matrix = matrix
        self._fill_values = matrix.chain.fill_values
        n_rows, n_columns = matrix.shape
        stored = n_rows * n_columns if self._is_dense else min(matrix.stored, n_rows * n_columns)
        n_buckets = int(min(max(-(-stored // bucket), 1), max(n_columns, 1)))
        bounds = self._balanced(stored, n_buckets)
        self.buckets = Buckets(bounds, dtype, stored * (8 + dtype.itemsize), purpose)

    @property
    def _is_dense(self) -> bool:
        """True if values must be made dense: where what is not stored differs by row."""
        return self._fill_values is not None and self._fill_values.values.shape[0] > 1

    def _balanced(self, stored: int, n_buckets: int) -> NDArray[np.intp]:
        """Return where buckets of columns start and end, so that they hold about as much, if that is known."""
        n_columns = self._matrix.shape[1]
        known = self._expected()
        if known is None or self._fill_values is not None:
            return np.linspace(0, n_columns, n_buckets + 1).astype(np.intp)
        wanted = np.arange(1, n_buckets) * (known.sum() / n_buckets)
        inner = np.minimum(np.searchsorted(np.cumsum(known), wanted), n_columns)
        return np.concatenate([[0], np.maximum.accumulate(inner), [n_columns]])

    def _expected(self) -> NDArray[np.number] | None:
        """Return how many entries each column has, as far as that is known; what matters is their ratio."""
        return self._matrix.statistics.known.get("col_nnz")

    def partial(self) -> Batch:
        return Batch(self.buckets)

    def workspace_nbytes(self) -> int:
        """Bytes of the rows that wait, and once more where they are put in order; a bucket takes no more."""
        return 2 * BATCH * (8 + 2 * _ENTRY)

    def update(self, partial: Batch, block: Block) -> None:
        indptr, indices, values = block.indptr, block.indices, block.values
        if self._is_dense:
            whole = sparse.csr_matrix(block.toarray())
            indptr, indices, values = whole.indptr.astype(np.int64), whole.indices.astype(np.int32), whole.data
        partial.add(indptr, indices, values, self.labels[block.positions])

    def finish(self, partial: Batch) -> Batch:
        """Write what still waits."""
        partial.flush()
        return partial

    def merge(self, total: Batch, partial: Batch) -> Batch:
        if partial.buckets is not total.buckets:  # of another process
            total.buckets.add(partial.buckets.written())
        return total

    def share(self, folder: Path, name: str) -> None:
        """Write to files of some name in a folder, from which other processes read."""
        self.buckets.share(folder, name)

    def pack(self, partial: Batch) -> list[Written]:
        partial.flush()
        return partial.buckets.written()

    def unpack(self, packed: list[Written]) -> Batch:
        return Batch(self.buckets.of_others(packed))
