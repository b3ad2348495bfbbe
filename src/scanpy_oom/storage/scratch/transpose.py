"""External transposition: a column-compressed matrix, copied by rows to scratch files."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ...errors import CorruptFileError
from ...jit import njit
from ...memory.ledger import ACCOUNTANT
from ...settings import settings
from ..arrays.blocks import CSRBlock, kernel_dtype
from ..arrays.ranges import element_runs, selected_offsets
from .file import ScratchArray, check_scratch_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from ..abc import Floats
    from ..arrays.compressed import CompressedArrays
    from ..arrays.ranges import Runs

__all__ = ["RowMajorCopy", "count_rows", "partition", "partition_reference", "sort_rows", "sort_rows_reference"]

T = TypeVar("T")
R = TypeVar("R")

_BYTES_PER_ENTRY = 32  # in memory while it is moved: row, column and value, and the same once more, in order


@njit(nogil=True, cache=True)
def _count(rows: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    for k in range(rows.shape[0]):
        counts[rows[k]] += 1


@njit(nogil=True, cache=True)
def _count_buckets(rows: NDArray[np.int32], bucket_of_row: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    for k in range(rows.shape[0]):
        counts[bucket_of_row[rows[k]]] += 1


@njit(nogil=True, cache=True)
def _partition(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: Floats,
    bucket_of_row: NDArray[np.int32],
    cursor: NDArray[np.int64],
    out_rows: NDArray[np.int32],
    out_columns: NDArray[np.int32],
    out_values: Floats,
) -> None:
    for k in range(rows.shape[0]):
        bucket = bucket_of_row[rows[k]]
        at = cursor[bucket]
        cursor[bucket] = at + 1
        out_rows[at] = rows[k]
        out_columns[at] = columns[k]
        out_values[at] = values[k]


@njit(nogil=True, cache=True)
def _sort_rows(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: Floats,
    first_row: int,
    offsets: NDArray[np.int64],
    out_columns: NDArray[np.int32],
    out_values: Floats,
) -> bool:
    cursor = offsets.copy()
    for k in range(rows.shape[0]):
        row = rows[k] - first_row
        if row < 0 or row >= cursor.shape[0] - 1 or cursor[row] == offsets[row + 1]:
            return False
        at = cursor[row]
        cursor[row] = at + 1
        out_columns[at] = columns[k]
        out_values[at] = values[k]
    return True


class Entries(NamedTuple):
    """Entries of a matrix, one by one."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Floats


def partition(entries: Entries, bucket_of_row: NDArray[np.int32], n_buckets: int) -> tuple[Entries, NDArray[np.int64]]:
    """Order entries by the bucket that their row belongs to, and within it as they come.

    Returns
    -------
    The entries, and where each bucket starts among them `(n_buckets + 1,)`.
    """
    starts = np.zeros(n_buckets + 1, dtype=np.int64)
    _count_buckets(entries.rows, bucket_of_row, starts[1:])
    np.cumsum(starts, out=starts)
    out = Entries._make(map(np.empty_like, entries))
    _partition(*entries, bucket_of_row, starts[:-1].copy(), *out)
    return out, starts


def partition_reference(
    entries: Entries, bucket_of_row: NDArray[np.int32], n_buckets: int
) -> tuple[Entries, NDArray[np.int64]]:
    """Do what :func:`partition` does, with a stable sort."""
    buckets = bucket_of_row[entries.rows]
    order = np.argsort(buckets, kind="stable")
    starts = np.searchsorted(buckets[order], np.arange(n_buckets + 1))
    return Entries._make(array[order] for array in entries), starts


def sort_rows(entries: Entries, first_row: int, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int32], Floats]:
    """Order entries by row, and within a row as they come.

    Parameters
    ----------
    entries
        All entries of some consecutive rows.
    first_row
        The first of the rows.
    offsets
        Where each row starts in the result `(n_rows + 1,)`.

    Returns
    -------
    Columns and values.

    Raises
    ------
    ValueError
        If a row has more entries than `offsets` say.
    """
    columns, values = np.empty_like(entries.columns), np.empty_like(entries.values)
    if not _sort_rows(*entries, first_row, offsets, columns, values):
        msg = "The entries of a row are not as many as were counted."
        raise ValueError(msg)
    return columns, values


def sort_rows_reference(
    entries: Entries, first_row: int, offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Floats]:
    """Do what :func:`sort_rows` does, with a stable sort."""
    order = np.argsort(entries.rows, kind="stable")
    return entries.columns[order], entries.values[order]


def count_rows(arrays: CompressedArrays) -> NDArray[np.int32] | NDArray[np.int64]:
    """Count the entries that precede each row of a column-compressed matrix; reads the indices once.

    Returns
    -------
    `(n_rows + 1,)`, in the narrowest type that holds it; read-only.
    """
    counts = np.zeros(arrays.n_minor + 1, dtype=np.int64)
    with _workers() as ordered:
        for rows in ordered(lambda span: arrays.read_indices(*span), _spans(arrays.nnz)):
            _count(rows, counts[1:])
    np.cumsum(counts, out=counts)
    offsets = counts.astype(np.int32) if arrays.nnz <= np.iinfo(np.int32).max else counts
    offsets.flags.writeable = False
    return offsets


class RowMajorCopy:
    """A copy by rows, in scratch files, of a column-compressed matrix.

    The entries are read once, in stored order, and distributed to buckets of consecutive rows, each of which has its
    place in the scratch files; then each bucket is read, ordered by row, and written back. A row's columns thereby
    come in stored order.

    Parameters
    ----------
    arrays
        The matrix, compressed by columns.
    offsets
        Its entries that precede each row.

    Raises
    ------
    ScratchSpaceError
        If it does not fit `settings.scratch_dir`.
    MemoryBudgetExceeded
        If that folder lies in memory and the copy would exceed `settings.memory_limit`.
    """

    def __init__(self, arrays: CompressedArrays, offsets: NDArray[np.integer]) -> None:
        dtype = kernel_dtype(arrays.dtype)
        check_scratch_space(arrays.nnz * (8 + dtype.itemsize), f"A copy of {arrays.location} by rows")
        self._offsets = offsets
        with ExitStack() as on_failure, ACCOUNTANT.reserve(sorting=_sorting_nbytes(offsets)):
            self._columns = on_failure.enter_context(ScratchArray(np.dtype(np.int32)))
            self._values = on_failure.enter_context(ScratchArray(dtype))
            with ScratchArray(np.dtype(np.int32)) as rows:
                edges = _bucket_edges(offsets)
                self._distribute(arrays, edges, rows)
                with _workers() as ordered:
                    buckets = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
                    for _ in ordered(lambda bucket: self._sort(arrays, rows, *bucket), buckets):
                        pass
            on_failure.pop_all()

    def _distribute(self, arrays: CompressedArrays, edges: NDArray[np.int64], rows: ScratchArray) -> None:
        n_buckets = len(edges) - 1
        bucket_of_row = np.repeat(np.arange(n_buckets, dtype=np.int32), np.diff(edges))
        positions = self._offsets[edges[:-1]].astype(np.int64)

        def load(span: tuple[int, int]) -> tuple[Entries, NDArray[np.int64]]:
            return partition(_entries(arrays, *span), bucket_of_row, n_buckets)

        with _workers() as ordered:
            for entries, starts in ordered(load, _spans(arrays.nnz)):
                for bucket in np.flatnonzero(np.diff(starts)).tolist():
                    part = slice(starts[bucket], starts[bucket + 1])
                    at = int(positions[bucket])
                    rows.write(entries.rows[part], at)
                    self._columns.write(entries.columns[part], at)
                    self._values.write(entries.values[part], at)
                positions += np.diff(starts)

    def _sort(self, arrays: CompressedArrays, rows: ScratchArray, first: int, last: int) -> None:
        """Order the bucket that holds the rows from `first` to before `last`."""
        start = int(self._offsets[first])
        offsets = self._offsets[first : last + 1].astype(np.int64) - start
        n = int(offsets[-1])
        scratch = (rows, self._columns, self._values)
        entries = Entries(*(np.empty(n, dtype=array.dtype) for array in scratch))
        for array, out in zip(scratch, entries, strict=True):
            array.read(start, out)
        try:
            columns, values = sort_rows(entries, first, offsets)
        except ValueError as error:
            msg = f"{arrays.location} has changed while it was copied. Read the file again with read_h5ad."
            raise CorruptFileError(msg) from error
        self._columns.write(columns, start)
        self._values.write(values, start)

    def read(self, runs: Runs) -> CSRBlock:
        """Read runs of rows."""
        elements = element_runs(runs, self._offsets)
        indices = np.empty(elements.size, dtype=self._columns.dtype)
        data = np.empty(elements.size, dtype=self._values.dtype)
        at = 0
        for start, stop in zip(elements.starts.tolist(), elements.stops.tolist(), strict=True):
            self._columns.read(start, indices[at : at + stop - start])
            self._values.read(start, data[at : at + stop - start])
            at += stop - start
        return CSRBlock(selected_offsets(runs, self._offsets), indices, data)

    def close(self) -> None:
        """Give the scratch space back."""
        self._columns.close()
        self._values.close()


def _entries(arrays: CompressedArrays, start: int, stop: int) -> Entries:
    rows, values = arrays.read_elements(start, stop)
    offsets = arrays.offsets()
    first, last = np.searchsorted(offsets, [start, stop - 1], side="right") - 1
    ends = np.clip(offsets[first : last + 2], start, stop)
    return Entries(rows, np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(ends)), values)


def _spans(nnz: int) -> Iterator[tuple[int, int]]:
    """Cut the stored entries into runs that are read at a time."""
    n = max(1, min(2**20, ACCOUNTANT.available() // (_BYTES_PER_ENTRY * (settings.n_threads + 2))))
    return ((start, min(start + n, nnz)) for start in range(0, nnz, n))


def _bucket_edges(offsets: NDArray[np.integer]) -> NDArray[np.int64]:
    """Cut the rows into buckets that are sorted in memory; one of each thread at a time."""
    nnz, n_rows = int(offsets[-1]), len(offsets) - 1
    n = min(2**22, max(2**21, nnz // 512), ACCOUNTANT.available() // (_BYTES_PER_ENTRY * settings.n_threads))
    cuts = np.searchsorted(offsets, np.arange(0, nnz, max(1, n)))
    return np.unique(np.concatenate([[0], cuts, [n_rows]])).astype(np.int64)


def _sorting_nbytes(offsets: NDArray[np.integer]) -> int:
    """Return the bytes that the buckets take that are sorted at a time."""
    edges = _bucket_edges(offsets)
    largest = int(np.diff(offsets[edges].astype(np.int64)).max(initial=0))
    return largest * _BYTES_PER_ENTRY * settings.n_threads


@contextmanager
def _workers() -> Iterator[Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]]:
    """Give a `map` on threads that keeps order and works only little ahead, so that little is held in memory."""
    executor = ThreadPoolExecutor(settings.n_threads)

    def ordered(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > settings.n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield ordered
    finally:
        executor.shutdown(cancel_futures=True)
