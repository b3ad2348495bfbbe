"""Sums of ranks by group of rows, column by column: entries go by way of scratch files, by buckets of columns."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.array_implementation import ArrayImplementation, add_up, implements
from ..engine.column_buckets import Batch, ByBuckets
from ..kernels import pair_rank_sums, rank_sums, scatter_keys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from numpy.typing import NDArray

    from ..engine.device.block import ArrayBlock
    from ..engine.device.device import Array
    from ..matrix import OOMMatrix
    from ..matrix.transforms.chain import FillValues

__all__ = ["GroupRanks", "RankSums", "RanksSpec"]

_AHEAD = 2
"""Buckets of columns that are read while a device ranks one."""


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


@dataclass(frozen=True, slots=True, eq=False)
class RanksSpec:
    """Parameters of :class:`GroupRanks`.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row.
    n_groups
        Number of groups.
    reference
        Group that each group is ranked with; None to rank all rows together.
    is_dense
        Whether all values of the matrix but zeros are ranked, since those that are not stored differ by row.
    fill_values
        Values where nothing is stored; None for zeros.
    """

    codes: NDArray[np.int32]
    n_groups: int
    reference: int | None
    is_dense: bool = False
    fill_values: FillValues | None = None

    def unstored_values(self, columns: slice) -> NDArray[np.float64]:
        """Return what stands where nothing is stored."""
        if self.fill_values is None or self.is_dense:
            return np.zeros(columns.stop - columns.start)
        return self.fill_values.values[0, columns]

    def sizes(self) -> NDArray[np.int64]:
        """Count the rows of each group."""
        return np.bincount(self.codes, minlength=self.n_groups)

    def no_sums(self, n_columns: int) -> RankSums:
        """Return zeros for the results of some columns."""
        of_pairs = (self.n_groups, n_columns)
        return RankSums(np.zeros(of_pairs), np.zeros(n_columns if self.reference is None else of_pairs))


class GroupRanks(ByBuckets):
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

    only_here = ""
    exchanges = True
    spec: RanksSpec

    def __init__(self, codes: NDArray[np.integer], n_groups: int, reference: int | None = None) -> None:
        super().__init__(codes)
        self.spec = RanksSpec(self.labels, n_groups, reference)

    def prepare(self, matrix: OOMMatrix) -> None:
        # values that are no float32 are sorted as float64, at more cost
        dtype = np.dtype(np.float32 if matrix.dtype.itemsize < 8 and matrix.dtype.kind == "f" else float)
        self._prepare(matrix, dtype, f"Ranking the values of {matrix!r}")
        self.spec = replace(self.spec, is_dense=self._is_dense, fill_values=self._fill_values)

    def n_parts(self, total: Batch) -> int:
        return len(total.buckets)

    def part(self, total: Batch, k: int) -> Any:
        """Rank the columns of a bucket."""
        spec, shown = self.spec, self.buckets.columns(k)
        first, n_columns = shown.start, shown.stop - shown.start
        columns, codes, values = total.buckets.read(k)
        ends = np.cumsum(np.bincount(columns - first, minlength=n_columns))
        numbers, unstored_value = ordered(values, spec.unstored_values(shown))
        keys = np.empty(values.size, dtype=np.uint64)
        scatter_keys(columns, codes, numbers, first, np.concatenate([[0], ends[:-1]]), keys)
        out, sizes = spec.no_sums(n_columns), spec.sizes()
        sums, ties = np.empty(spec.n_groups), np.empty(spec.n_groups)
        for j in range(n_columns):
            these = keys[ends[j - 1] if j else 0 : ends[j]]
            these.sort()
            if spec.reference is None:
                out.ties[j] = rank_sums(these, int(unstored_value[j]), sizes, sums)
            else:
                pair_rank_sums(these, int(unstored_value[j]), sizes, spec.reference, sums, ties)
                out.ties[:, j] = ties
            out.sums[:, j] = sums
        return out

    def put_together(self, total: Batch, parts: Iterable[tuple[int, Any]]) -> Any:
        out = self.spec.no_sums(self._matrix.shape[1])
        for k, found in parts:
            shown = self.buckets.columns(k)
            out.sums[:, shown], out.ties[..., shown] = found.sums, found.ties
        return out

    def result(self, total: Batch) -> Any:
        return self.put_together(total, total.buckets.each(partial(self.part, total)))


def ordered(values: np.ndarray, fill_values: NDArray[np.float64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return unsigned numbers that sort as `values` and as `fill_values`, and are equal where these are."""
    if values.dtype == np.float32:
        return _float_order(values), _float_order(fill_values.astype(np.float32))
    distinct = np.unique(np.concatenate([values, fill_values]))
    numbers, fill_numbers = (np.searchsorted(distinct, x).astype(np.uint32) for x in (values, fill_values))
    return numbers, fill_numbers


def _float_order(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    bits = (values + np.float32(0)).view(np.int32)  # minus zero is zero
    # bits of negative numbers sort the other way round
    return np.where(bits < 0, ~bits, bits | np.int32(-(2**31))).view(np.uint32)


@implements(GroupRanks)
class ArrayGroupRanks(ArrayImplementation[RanksSpec, Batch]):
    """Array implementation of :class:`GroupRanks`: the device puts entries in order; they wait in scratch files."""

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return self.spec.is_dense

    def begin(self, host: Batch) -> None:
        super().begin(host)
        self.bucket_of = self.xp.asarray(host.buckets.of_column)

    def update(self, block: ArrayBlock) -> None:
        xp, buckets = self.xp, self.host.buckets
        bucket = self.bucket_of[block.indices]
        if self.spec.is_dense:  # zeros are not kept: they come last
            bucket = xp.where(block.values != 0, bucket, len(buckets))
        order = xp.argsort(bucket, kind="stable")
        starts = xp.searchsorted(bucket[order], xp.arange(len(buckets) + 1))
        groups = block.of_rows(self.spec.codes)[block.rows[order]]
        arrays = [block.indices[order], groups, block.values[order].astype(buckets.dtype)]
        waiting: list[np.ndarray] = []
        for array in arrays:
            block.to_host(array, waiting.append)
        block.to_host(starts, lambda starts: buckets.put(starts, *waiting))

    def result(self, total: Batch, on_host: object) -> RankSums:
        buckets, out = total.buckets, self.spec.no_sums(self.matrix_shape[1])
        sizes = self.xp.asarray(self.spec.sizes().astype(np.float64))
        n_buckets = len(buckets)
        try:
            with ThreadPoolExecutor(_AHEAD, thread_name_prefix="scanpy-oom") as pool:
                coming = deque(pool.submit(buckets.read, k) for k in range(min(_AHEAD, n_buckets)))
                for k in range(n_buckets):
                    columns, codes, values = coming.popleft().result()
                    if k + _AHEAD < n_buckets:
                        coming.append(pool.submit(buckets.read, k + _AHEAD))
                    self._rank(buckets.columns(k), columns, codes, values, sizes, out)
        finally:
            buckets.close()
        return out

    def _rank(
        self,
        bucket: slice,
        columns: NDArray[np.int32],
        codes: NDArray[np.int32],
        values: np.ndarray,
        sizes: Array,
        out: RankSums,
    ) -> None:
        xp, reference = self.xp, self.spec.reference
        numbers, unstored = ordered(xp.asarray(values), xp.asarray(self.spec.unstored_values(bucket)))
        entries = xp.asarray(columns) - bucket.start, xp.asarray(codes), numbers
        if reference is None:
            found = array_rank_sums(xp, *entries, unstored, sizes)
        else:
            found = array_pair_rank_sums(xp, *entries, unstored, sizes, reference)
        sums, ties = (self.device.fetch(array) for array in found)
        self.device.mark()()
        out.sums[:, bucket], out.ties[..., bucket] = sums, ties


def _with_unstored(
    xp: ModuleType, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array
) -> tuple[Array, Array, Array, Array]:
    """Add an entry for each column and group that stands for all places where nothing is stored; return weights too."""
    n_columns, n_groups = unstored.size, sizes.size
    columns, codes = columns.astype(np.int64), codes.astype(np.int64)
    stored = add_up(xp, codes * n_columns + columns, xp.ones(columns.size), n_groups * n_columns)
    rest = xp.broadcast_to(sizes[:, None], (n_groups, n_columns)).reshape(-1) - stored
    places = xp.arange(n_groups * n_columns)
    weights = xp.concatenate([xp.ones(columns.size), rest])
    columns = xp.concatenate([columns, places % n_columns])
    codes = xp.concatenate([codes, places // n_columns])
    return columns, codes, xp.concatenate([numbers, xp.tile(unstored, n_groups)]).astype(np.int64), weights


def _runs(xp: ModuleType, *keys: Array) -> tuple[Array, Array]:
    """Return the number of each run of equal keys, and where runs begin."""
    begins = xp.ones(keys[0].size, dtype=bool)
    begins[1:] = False
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    return xp.cumsum(begins) - 1, begins


def array_rank_sums(
    xp: ModuleType, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array
) -> tuple[Array, Array]:
    """Rank all values of each column, ties by their mean rank, and add ranks up by group.

    Parameters
    ----------
    xp
        The package of the arrays.
    columns, codes, numbers
        `(nnz,)`: column, group, and an unsigned number that sorts as the value, of each stored entry.
    unstored
        `(n_columns,)` such numbers of what is not stored.
    sizes
        `(n_groups,)` rows of each group.

    Returns
    -------
    Sums of ranks, `(n_groups, n_columns)`, and sums of `t**3 - t` over runs of `t` equal values, `(n_columns,)`.
    """
    n_columns, n_groups = unstored.size, sizes.size
    columns, codes, numbers, weights = _with_unstored(xp, columns, codes, numbers, unstored, sizes)
    order = xp.argsort((columns << 32) | numbers, kind="stable")
    columns, codes, numbers, weights = columns[order], codes[order], numbers[order], weights[order]
    run, begins = _runs(xp, columns, numbers)
    n = add_up(xp, run, weights, run.size)
    below = (xp.cumsum(n) - n)[run] - columns * sizes.sum()
    n = n[run]
    sums = add_up(xp, codes * n_columns + columns, weights * (below + (n + 1) / 2), n_groups * n_columns)
    ties = add_up(xp, columns, xp.where(begins, n**3 - n, 0.0), n_columns)
    return sums.reshape(n_groups, n_columns), ties


def array_pair_rank_sums(
    xp: ModuleType, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array, reference: int
) -> tuple[Array, Array]:
    """Do as :func:`array_rank_sums` for each group with a reference group alone; ties are `(n_groups, n_columns)`."""
    n_columns, n_groups = unstored.size, sizes.size
    columns, codes, numbers, weights = _with_unstored(xp, columns, codes, numbers, unstored, sizes)
    of_reference = xp.where(codes == reference, weights, 0.0)
    # by value: how many of the reference group have it, and how many have less
    order = xp.argsort((columns << 32) | numbers, kind="stable")
    run, begins = _runs(xp, columns[order], numbers[order])
    m = add_up(xp, run, of_reference[order], run.size)
    less = (xp.cumsum(m) - m)[run] - columns[order] * sizes[reference]
    lone = xp.where(begins, m[run] ** 3 - m[run], 0.0)
    lone = add_up(xp, columns[order], lone, n_columns)
    same, below = xp.empty_like(weights), xp.empty_like(weights)
    same[order], below[order] = m[run], less
    # by group and value: the same of the group itself
    order = xp.lexsort(xp.stack([numbers, columns * n_groups + codes]))
    columns, codes, numbers, weights = columns[order], codes[order], numbers[order], weights[order]
    m, below = same[order], below[order]
    run, begins = _runs(xp, columns, codes, numbers)
    n = add_up(xp, run, weights, run.size)
    before = (xp.cumsum(n) - n)[run] - columns * sizes.sum() - (xp.cumsum(sizes) - sizes)[codes]
    n = xp.where(begins & (codes != reference), n[run], 0.0)
    places, total = codes * n_columns + columns, n + m
    sums = add_up(xp, places, n * (before + below + (total + 1) / 2), n_groups * n_columns)
    more = xp.where(n > 0, total**3 - total - (m**3 - m), 0.0)
    ties = add_up(xp, places, more, n_groups * n_columns).reshape(n_groups, n_columns) + lone
    return sums.reshape(n_groups, n_columns), ties
