"""Sums of ranks within groups of rows, in arrays: the device puts entries in order; they wait in scratch files."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ranks import GroupRanks, RankSums, ordered
from .form import ArrayForm, add_up, array_form

if TYPE_CHECKING:
    from .block import ArrayBlock
    from .device import Array

__all__ = ["pair_rank_sums", "rank_sums"]

AHEAD = 2
"""Buckets of columns that are read while one is ranked."""


@array_form(GroupRanks)
class ArrayGroupRanks(ArrayForm):
    """See :class:`~scanpy_oom.passes.GroupRanks`."""

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return bool(self.reduction._is_dense)

    def begin(self) -> None:
        self.bucket_of = self.xp.asarray(self.reduction._bucket_of)

    def update(self, block: ArrayBlock) -> None:
        xp, reduction = self.xp, self.reduction
        n_buckets = reduction._bounds.size - 1
        bucket = self.bucket_of[block.indices]
        if reduction._is_dense:  # zeros are not kept: they come last
            bucket = xp.where(block.values != 0, bucket, n_buckets)
        order = xp.argsort(bucket, kind="stable")
        starts = xp.searchsorted(bucket[order], xp.arange(n_buckets + 1))
        groups = block.of_rows(reduction._codes)[block.rows[order]]
        arrays = [block.indices[order], groups, block.values[order].astype(reduction._value_dtype)]
        waiting: list[np.ndarray] = []
        for array in arrays:
            block.to_host(array, waiting.append)
        block.to_host(starts, lambda starts: reduction.put(starts, *waiting))

    def result(self, total: Any) -> RankSums:
        reduction, n_columns = self.reduction, self.matrix.shape[1]
        of_pairs = (reduction._n_groups, n_columns)
        out = RankSums(np.zeros(of_pairs), np.zeros(n_columns if reduction._reference is None else of_pairs))
        sizes = self.xp.asarray(np.bincount(reduction._codes, minlength=reduction._n_groups).astype(np.float64))
        n_buckets, read = reduction._bounds.size - 1, reduction._read
        try:
            with ThreadPoolExecutor(AHEAD, thread_name_prefix="scanpy-oom") as pool:
                coming: deque[Future] = deque(pool.submit(read, k) for k in range(min(AHEAD, n_buckets)))
                for k in range(n_buckets):
                    columns, codes, values = coming.popleft().result()
                    if k + AHEAD < n_buckets:
                        coming.append(pool.submit(read, k + AHEAD))
                    self._rank(slice(*reduction._bounds[k : k + 2]), columns, codes, values, sizes, out)
        finally:
            reduction.close()
        return out

    def _rank(
        self, bucket: slice, columns: np.ndarray, codes: np.ndarray, values: np.ndarray, sizes: Array, out: RankSums
    ) -> None:
        xp, reduction = self.xp, self.reduction
        numbers, unstored = ordered(xp.asarray(values), xp.asarray(reduction.unstored_values(bucket)))
        entries = xp.asarray(columns) - bucket.start, xp.asarray(codes), numbers
        if reduction._reference is None:
            found = rank_sums(xp, *entries, unstored, sizes)
        else:
            found = pair_rank_sums(xp, *entries, unstored, sizes, reduction._reference)
        sums, ties = (self.device.fetch(array) for array in found)
        self.device.mark()()
        out.sums[:, bucket], out.ties[..., bucket] = sums, ties


def _with_unstored(
    xp: Any, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array
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


def _runs(xp: Any, *keys: Array) -> tuple[Array, Array]:
    """Return the number of each run of equal keys, and where runs begin."""
    begins = xp.ones(keys[0].size, dtype=bool)
    begins[1:] = False
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    return xp.cumsum(begins) - 1, begins


def rank_sums(
    xp: Any, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array
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


def pair_rank_sums(
    xp: Any, columns: Array, codes: Array, numbers: Array, unstored: Array, sizes: Array, reference: int
) -> tuple[Array, Array]:
    """Do as :func:`rank_sums` for each group with a reference group alone; ties are `(n_groups, n_columns)`."""
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
