"""Sums of ranks by group of rows, column by column: entries go by way of scratch files, by buckets of columns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..io.scratch import ScratchArray, check_scratch_space
from ..kernels import pair_rank_sums, partition_entries, rank_sums, scatter_keys
from ..settings import settings
from .reductions import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["GroupRanks", "RankSums"]

BUCKET = 2**21
"""Entries of a bucket of columns, all of which are in memory when it is ranked."""

BATCH = 2**20
"""Entries that wait to be put in the order of buckets: enough for a bucket's share to be read at once."""

_ENTRY = 12
"""Bytes of an entry: column, group and value."""


@dataclass(frozen=True, slots=True, eq=False)
class RankSums:
    """Sums of the ranks of the columns' values within groups of rows.

    Parameters
    ----------
    sums
        `(n_groups, n_columns)` sums of ranks, equal values having their mean rank.
    ties
        `(n_columns,)`, or `(n_groups, n_columns)` if groups were compared with one of them: sums of `t**3 - t` over
        runs of `t` equal values.
    """

    sums: NDArray[np.float64]
    ties: NDArray[np.float64]


class _Batch:
    """Rows that wait to be put in the order of buckets."""

    def __init__(self) -> None:
        self.rows: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]] = []
        self.n_entries = 0


class GroupRanks(Reduction):
    """Sums of ranks within groups of rows, each column ranked by itself, as the Wilcoxon rank-sum test needs them.

    What is stored is written to scratch, column by column in coarse buckets, and then sorted; all places where nothing
    is stored have one value, and so one rank. Sums of ranks are whole or half numbers, hence exact in whatever order.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row.
    n_groups
        Number of groups.
    reference
        Rank each group with this one alone; None to rank all rows together.
    """

    def __init__(self, codes: NDArray[np.integer], n_groups: int, reference: int | None = None) -> None:
        self._codes = np.asarray(codes, dtype=np.int32)
        self._n_groups = n_groups
        self._reference = reference

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        self._background = matrix.chain.background
        # values that are no float32 are sorted as float64, at more cost
        self._value_dtype = np.dtype(np.float32 if matrix.dtype.itemsize < 8 and matrix.dtype.kind == "f" else float)
        n_rows, n_columns = matrix.shape
        stored = n_rows * n_columns if self._is_dense else min(matrix.stored, n_rows * n_columns)
        n_buckets = int(min(max(-(-stored // BUCKET), 1), max(n_columns, 1)))
        self._bounds = self._balanced(stored, n_buckets)
        self._bucket_of = np.repeat(np.arange(n_buckets, dtype=np.int32), np.diff(self._bounds))
        self._nbytes = stored * (8 + self._value_dtype.itemsize)
        self._files: list[ScratchArray] = []
        self._segments: list[NDArray[np.int64]] = []
        self._end = 0
        self._lock = threading.Lock()

    @property
    def _is_dense(self) -> bool:
        """Whether values must be made dense: where what is not stored differs by row."""
        return self._background is not None and self._background.values.shape[0] > 1

    def _balanced(self, stored: int, n_buckets: int) -> NDArray[np.intp]:
        """Return where buckets of columns start and end, so that they hold about as much, if that is known."""
        n_columns = self._matrix.shape[1]
        known = self._matrix.statistics.known.get("col_nnz")
        if known is None or self._background is not None:
            return np.linspace(0, n_columns, n_buckets + 1).astype(np.intp)
        wanted = np.arange(1, n_buckets) * (known.sum() / n_buckets)
        inner = np.minimum(np.searchsorted(np.cumsum(known), wanted), n_columns)
        return np.concatenate([[0], np.maximum.accumulate(inner), [n_columns]])

    def partial(self) -> _Batch:
        return _Batch()

    def workspace_nbytes(self) -> int:
        """Bytes of the rows that wait, and once more where they are put in order; a bucket takes no more."""
        return 2 * BATCH * (8 + 2 * _ENTRY)

    def update(self, partial: _Batch, block: Block) -> None:
        indptr, indices, values = block.indptr, block.indices, block.values
        if self._is_dense:
            whole = sparse.csr_matrix(block.toarray())
            indptr, indices, values = whole.indptr.astype(np.int64), whole.indices.astype(np.int32), whole.data
        partial.rows.append((indptr, indices, values, self._codes[block.positions]))
        partial.n_entries += indices.size
        if partial.n_entries >= BATCH:
            self._flush(partial)

    def finish(self, partial: _Batch) -> _Batch:
        """Write what still waits."""
        self._flush(partial)
        return partial

    def _flush(self, partial: _Batch) -> None:
        if not partial.n_entries:
            return
        lengths = np.concatenate([np.diff(indptr) for indptr, *_ in partial.rows])
        indices, values, codes = (np.concatenate([row[k] for row in partial.rows]) for k in (1, 2, 3))
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        starts = np.zeros(self._bounds.size, dtype=np.int64)
        columns, groups = np.empty(indices.size, dtype=np.int32), np.empty(indices.size, dtype=np.int32)
        out = np.empty(indices.size, dtype=self._value_dtype)
        partition_entries(indptr, indices, values, codes, self._bucket_of, starts, columns, groups, out)
        self.put(starts, columns, groups, out)
        partial.rows, partial.n_entries = [], 0

    def put(
        self, starts: NDArray[np.int64], columns: NDArray[np.int32], groups: NDArray[np.int32], values: NDArray[Any]
    ) -> None:
        """Write entries that are in the order of buckets, of which each starts at one of `starts`."""
        with self._lock:
            if not self._files:
                check_scratch_space(self._nbytes, f"Ranking the values of {self._matrix!r}")
                self._files = [ScratchArray(np.dtype(of)) for of in (np.int32, np.int32, self._value_dtype)]
            at, self._end = self._end, self._end + int(starts[-1])
            self._segments.append(starts + at)
        for file, array in zip(self._files, (columns, groups, values), strict=True):
            file.write(array[: starts[-1]], at)

    def close(self) -> None:
        """Give the scratch space back."""
        for file in self._files:
            file.close()

    def merge(self, total: _Batch, partial: _Batch) -> _Batch:
        return total

    def result(self, total: _Batch) -> Any:
        n_columns = self._matrix.shape[1]
        of_pairs = (self._n_groups, n_columns)
        out = RankSums(np.zeros(of_pairs), np.zeros(n_columns if self._reference is None else of_pairs))
        sizes = np.bincount(self._codes, minlength=self._n_groups)
        self._for_each_bucket(lambda bucket: self._rank(bucket, sizes, out))
        return out

    def _for_each_bucket(self, function: Callable[[int], None]) -> None:
        """Call a function for each bucket, on threads, and give the scratch space back."""
        try:
            with ThreadPoolExecutor(settings.n_threads, thread_name_prefix="scanpy-oom") as pool:
                futures = [pool.submit(function, k) for k in range(self._bounds.size - 1)]
                try:
                    for future in futures:
                        future.result()
                finally:
                    for future in futures:
                        future.cancel()
        finally:
            self.close()

    def _read(self, bucket: int) -> list[NDArray[Any]]:
        """Return columns, groups and values of the entries of a bucket."""
        segments = [(s[bucket], s[bucket + 1]) for s in self._segments]
        n = sum(stop - start for start, stop in segments)
        dtypes = (np.int32, np.int32, self._value_dtype)
        arrays: list[NDArray[Any]] = [np.empty(n, dtype=dtype) for dtype in dtypes]
        at = 0
        for start, stop in segments:
            for file, array in zip(self._files, arrays, strict=True):
                file.read(int(start), array[at : at + stop - start])
            at += stop - start
        return arrays

    def unstored_values(self, columns: slice) -> NDArray[np.float64]:
        """Return what stands where nothing is stored."""
        if self._background is None or self._is_dense:
            return np.zeros(columns.stop - columns.start)
        return self._background.values[0, columns]

    def _rank(self, bucket: int, sizes: NDArray[np.int64], out: RankSums) -> None:
        first, last = self._bounds[bucket], self._bounds[bucket + 1]
        columns, codes, values = self._read(bucket)
        ends = np.cumsum(np.bincount(columns - first, minlength=last - first))
        numbers, unstored_value = ordered(values, self.unstored_values(slice(first, last)))
        keys = np.empty(values.size, dtype=np.uint64)
        scatter_keys(columns, codes, numbers, int(first), np.concatenate([[0], ends[:-1]]), keys)
        sums, ties = np.empty(self._n_groups), np.empty(self._n_groups)
        for j in range(last - first):
            these = keys[ends[j - 1] if j else 0 : ends[j]]
            these.sort()
            if self._reference is None:
                out.ties[first + j] = rank_sums(these, int(unstored_value[j]), sizes, sums)
            else:
                pair_rank_sums(these, int(unstored_value[j]), sizes, self._reference, sums, ties)
                out.ties[:, first + j] = ties
            out.sums[:, first + j] = sums


def ordered(values: NDArray[Any], background: NDArray[np.float64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return unsigned numbers that sort as `values` and as `background`, and are equal where these are."""
    if values.dtype == np.float32:
        return _float_order(values), _float_order(background.astype(np.float32))
    distinct = np.unique(np.concatenate([values, background]))
    return tuple(np.searchsorted(distinct, x).astype(np.uint32) for x in (values, background))  # type: ignore[return-value]


def _float_order(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    bits = (values + np.float32(0)).view(np.int32)  # minus zero is zero
    # bits of negative numbers sort the other way round
    return np.where(bits < 0, ~bits, bits | np.int32(-(2**31))).view(np.uint32)
