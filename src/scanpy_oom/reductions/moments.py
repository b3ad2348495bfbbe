"""Moments of the columns by group of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import implements
from ..engine.reduction import Fused, Reduction
from ..kernels import group_table_sums, table_misses
from ..matrix.known_statistics import COLUMN_STATISTICS
from ..matrix.transforms.program import N_TABLE
from ..memory.buffer_pool import BUFFERS
from .column_sums import ArrayColumnSums, ColumnSums, squares_are_single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..engine.block import Block, BlockReader
    from ..engine.device.block import ArrayBlock
    from ..engine.partition import Rows
    from ..engine.request import Request
    from ..matrix import OOMMatrix
    from ..matrix.transforms.chain import FillValues
    from ..storage.sources.base import CSRBlock

__all__ = ["GroupMoments", "Moments", "MomentsOfTwo", "MomentsSpec"]

_NO_COUNTS = np.empty((0, 0), dtype=np.int64)

MANY = 1000
"""Entries of a row from which two matrices are summed in one loop, which works on the tables of each row beforehand."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of the columns within groups of rows.

    Parameters
    ----------
    n
        `(n_groups,)` rows of each group.
    total, total_squared
        `(n_groups, n_columns)` sums of values and of their squares.
    nnz, npos
        `(n_groups, n_columns)` numbers of non-zero and of positive values; empty where they were not asked for.
    """

    n: NDArray[np.int64]
    total: NDArray[np.float64]
    total_squared: NDArray[np.float64]
    nnz: NDArray[np.int64]
    npos: NDArray[np.int64]

    def mean_var(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and unbiased variance, as scanpy's `_get_mean_var`: divided by `n - 1`, or by `n` where that is 1."""
        n = self.n[:, None].astype(np.float64)
        mean = np.divide(self.total, n, out=np.full_like(self.total, np.nan), where=n > 0)
        var = np.divide(self.total_squared, n, out=np.full_like(self.total, np.nan), where=n > 0) - mean**2
        return mean, var * np.divide(n, n - 1, out=np.ones_like(n), where=n > 1)

    def column_statistics(self, group: int) -> dict[str, np.ndarray]:
        """Return those of one group by the names in :data:`~scanpy_oom.matrix.known_statistics.COLUMN_STATISTICS`."""
        arrays = (self.total, self.total_squared, self.nnz, self.npos)
        return {name: values[group] for name, values in zip(COLUMN_STATISTICS, arrays, strict=True) if len(values)}

    def sum_of_groups(self) -> Moments:
        """Moments of all rows that are in a group, as one group."""
        fields = (self.n, self.total, self.total_squared, self.nnz, self.npos)
        return Moments(*(values.sum(axis=0, keepdims=True) for values in fields))

    def complement(self, n_groups: int) -> Moments:
        """Moments of all rows but those of a group, for each of the first `n_groups` groups."""
        fields = (self.n, self.total, self.total_squared, self.nnz, self.npos)
        return Moments(*(_of_others(values, n_groups) for values in fields))


def _of_others(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Return, for each of the first groups, the sum over all other groups."""
    with np.errstate(invalid="ignore"):
        found = values.sum(axis=0) - values[:n_groups]
    lost = ~np.isfinite(values[:n_groups]).all(axis=0)  # what is infinite cannot be taken away again
    for k in range(n_groups if lost.any() else 0):
        found[k, ..., lost] = np.delete(values, k, axis=0)[..., lost].sum(axis=0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class MomentsSpec:
    """Parameters of :class:`GroupMoments`.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    n_groups
        Number of groups.
    counted
        Whether to count non-zero and positive values.
    as_csr
        Whether scanpy makes a column-compressed matrix row-compressed first.
    fine
        `(n_rows,)` group and class of fill values of each row: classes of a group are kept apart until the end.
    n_columns
        Number of columns.
    single
        Whether squares are rounded to single precision.
    fill_values
        Values where nothing is stored; None for zeros.
    """

    codes: NDArray[np.int64]
    n_groups: int
    counted: bool
    as_csr: bool
    fine: NDArray[np.int64]
    n_columns: int = 0
    single: bool = False
    fill_values: FillValues | None = None

    @property
    def n_classes(self) -> int:
        """Classes of fill values."""
        return 1 if self.fill_values is None else self.fill_values.values.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups and classes, columns, moments."""
        return self.n_groups * self.n_classes, self.n_columns, 4 if self.counted else 2

    def of(self, matrix: OOMMatrix) -> MomentsSpec:
        """Return the same, with what follows from the matrix."""
        fill_values, fine = matrix.chain.fill_values, self.codes
        if fill_values is not None and fill_values.row_class.size:
            fine = np.where(fine >= 0, fine * fill_values.values.shape[0] + fill_values.row_class, -1)
        single = squares_are_single(matrix, as_csr=self.as_csr)
        return replace(self, n_columns=matrix.shape[1], single=single, fill_values=fill_values, fine=fine)

    def sums_like(self, other: MomentsSpec) -> bool:
        """Return whether both add stored values alone, in the same way, to the same groups, and count none."""
        return (
            not (self.counted or other.counted)
            and self.fill_values is other.fill_values is None
            and self.single == other.single
            and self.n_groups == other.n_groups
            and np.array_equal(self.codes, other.codes)
        )

    def codes_of(self, positions: slice | NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the group of each row of a block, and the rows in the order of their groups."""
        codes = self.fine[positions]
        return codes, np.argsort(codes, kind="stable")

    def sums(self, moments: NDArray[np.float64] | None = None) -> ColumnSums:
        """Return an empty partial result, whose moments are the zeros given if there are any."""
        return ColumnSums(self.shape, single=self.single, counted=self.fill_values is not None, moments=moments)


class GroupMoments(Reduction):
    """Moments of the columns within groups of rows.

    Parameters
    ----------
    codes, n_groups, counted, as_csr
        As :class:`MomentsSpec` has them; `codes` of any integers.
    """

    by_columns = True
    spec: MomentsSpec

    def __init__(
        self, codes: NDArray[np.integer], n_groups: int, *, counted: bool = True, as_csr: bool = False
    ) -> None:
        groups = np.asarray(codes, dtype=np.int64)
        self.spec = MomentsSpec(groups, n_groups, counted, as_csr, fine=groups)

    @classmethod
    def fuse(cls, requests: Sequence[Request], readers: Sequence[BlockReader]) -> Fused | None:
        """Offer one loop for two matrices that differ in their chains alone, with enough entries a row."""
        if len(requests) != 2 or any(len(request.reductions) != 1 for request in requests):
            return None
        (first,), (second,) = (request.reductions for request in requests)
        one, other = (request.matrix for request in requests)
        if not (type(first) is type(second) is GroupMoments and first.spec.sums_like(second.spec)):
            return None
        alike = one.selection.columns is other.selection.columns and all(reader.tabulates for reader in readers)
        n_entries = one.stored * one.shape[1] / max(one.source.shape[1], 1)
        return MomentsOfTwo(first.spec, readers) if alike and n_entries >= MANY * one.shape[0] else None

    def prepare(self, matrix: OOMMatrix) -> None:
        self.spec = self.spec.of(matrix)

    def partial(self) -> ColumnSums:
        return self.spec.sums()

    def partial_nbytes(self) -> int:
        return 8 * math.prod(self.spec.shape)

    def update(self, partial: ColumnSums, block: Block) -> None:
        partial.update(block, *self.spec.codes_of(block.positions))

    def merge(self, total: ColumnSums, partial: ColumnSums) -> ColumnSums:
        total.add(partial)
        return total

    def join(self, results: list[Moments]) -> Moments:
        """Concatenate the columns."""
        arrays = [(m.total, m.total_squared, m.nnz, m.npos) for m in results]
        return Moments(results[0].n, *(np.concatenate(a, axis=1) for a in zip(*arrays, strict=True)))

    def result(self, total: ColumnSums) -> Moments:
        spec = self.spec
        n_fine, n_columns, n_moments = spec.shape
        counts = np.bincount(spec.fine[spec.fine >= 0], minlength=n_fine)
        if spec.fill_values is not None:
            total.add_unstored(counts, np.tile(spec.fill_values.values, (spec.n_groups, 1)))
        moments = total.moments.reshape(spec.n_groups, spec.n_classes, n_columns, n_moments).sum(axis=1)
        sums, squares, *counted = np.ascontiguousarray(np.moveaxis(moments, 2, 0))
        nnz, npos = (found.astype(np.int64) for found in counted) if counted else (_NO_COUNTS, _NO_COUNTS)
        n = counts.reshape(spec.n_groups, spec.n_classes).sum(axis=1)
        return Moments(n, sums, squares, nnz, npos)


@implements(GroupMoments)
class ArrayGroupMoments(ArrayColumnSums[MomentsSpec, ColumnSums]):
    """Array implementation of :class:`GroupMoments`."""

    def begin(self, host: ColumnSums) -> None:
        self.columns = host
        super().begin(host)

    def update(self, block: ArrayBlock) -> None:
        self.add(block, block.of_rows(self.spec.fine))


class MomentsOfTwo(Fused):
    """Two requests of a pass for sums by the same groups, of matrices that differ in their chains alone.

    What both add to a column lies side by side, and is looked up where it is added: no value of either matrix is
    written, and the loop, which waits for memory, waits once. The partial results are those of either reduction, each
    a view of one half.

    Parameters
    ----------
    spec
        Parameters of both.
    readers
        Readers of the blocks of either matrix.
    """

    def __init__(self, spec: MomentsSpec, readers: Sequence[BlockReader]) -> None:
        self._spec = spec
        self._readers = readers

    def partials(self) -> list[list[ColumnSums]]:
        n_groups, n_columns, n_moments = self._spec.shape
        both = np.zeros((n_groups, n_columns, 2 * n_moments))
        return [[self._spec.sums(both[:, :, :n_moments])], [self._spec.sums(both[:, :, n_moments:])]]

    def update(self, partials: list[list[ColumnSums]], shown: Sequence[CSRBlock], rows: Rows) -> int:
        (partial,), _ = partials
        both = partial.moments.base
        assert both is not None
        stored, _ = shown  # the same
        for reader in self._readers:
            stored = reader.completed(stored, rows)
        missed = BUFFERS.empty(stored.data.size, np.int64)
        missed = missed[: table_misses(stored.data, N_TABLE, missed)]
        tables, others = zip(*(reader.tabulate(stored, rows, missed) for reader in self._readers), strict=True)
        group_table_sums(
            stored.indptr,
            stored.indices,
            stored.data,
            tables,
            (missed, *others),
            partial.single,
            self._spec.codes_of(rows.positions),
            both,
        )
        return sum(array.nbytes for array in (*tables, missed, *others))
