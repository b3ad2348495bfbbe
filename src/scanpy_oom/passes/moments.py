"""Sums, squares and counts: by row, by column, by group of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import axis_statistics, group_moments, group_sums
from ..matrix.statistics import COLUMN_STATISTICS, ROW_STATISTICS, Statistics
from ..memory import ACCOUNTANT
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["AxisStatistics", "GroupMoments", "Moments", "StoredCounts"]

_NO_COUNTS = np.empty((0, 0), dtype=np.int64)


def _squares_are_single(matrix: OOMMatrix, *, as_csr: bool = False) -> bool:
    """Whether squares of single-precision values are single, as in scanpy: then their sum is exact, in whatever order.

    Of a column-compressed matrix it takes them in double precision, unless it makes it row-compressed first (`as_csr`).
    """
    by_row = as_csr or matrix.format_in_memory != "csc"
    return matrix.dtype == np.float32 and matrix.chain.background is None and by_row


class _Columns:
    """Moments of the columns, within groups, of what is stored; and how much is stored."""

    __slots__ = ("moments", "single", "stored")

    def __init__(
        self,
        matrix: OOMMatrix,
        n_groups: int,
        n_moments: int = 4,
        moments: NDArray[np.float64] | None = None,
        *,
        single: bool,
    ) -> None:
        n_columns, background = matrix.shape[1], matrix.chain.background is not None
        self.single = single
        # sum, sum of squares, number of non-zeros, number of positive values: side by side, since they are met together
        self.moments = np.zeros((n_groups, n_columns, n_moments)) if moments is None else moments
        self.stored = np.zeros((n_groups, n_columns), dtype=np.int64) if background else None

    def add(self, other: _Columns) -> None:
        self.moments += other.moments
        if self.stored is not None and other.stored is not None:
            self.stored += other.stored

    def update(self, block: Block, codes: NDArray[np.int64], order: NDArray[np.int64]) -> None:
        """Add the stored entries of `block`."""
        if self.stored is not None:
            groups = codes[block.row_of_entry()]
            places = groups[groups >= 0] * self.stored.shape[1] + block.indices[groups >= 0]
            self.stored += np.bincount(places, minlength=self.stored.size).reshape(self.stored.shape)
        kernel = group_moments if self.moments.shape[2] == 4 else group_sums
        kernel(block.indptr, block.indices, block.values, codes, order, self.single, self.moments)

    def add_unstored(self, counts: NDArray[np.int64], background: NDArray[np.float64]) -> None:
        """Add what is not stored: `background`, one row a group, in groups of `counts` rows."""
        assert self.stored is not None
        unstored = counts[:, None] - self.stored
        measures = (background, background**2, background != 0, background > 0)
        for k, value in enumerate(measures[: self.moments.shape[2]]):
            self.moments[:, :, k] += unstored * value


class AxisStatistics(Reduction):
    """Everything in :data:`~scanpy_oom.matrix.statistics.ROW_STATISTICS` and `COLUMN_STATISTICS`."""

    by_columns = True

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        n_rows, self._n_columns = matrix.shape
        self._background = matrix.chain.background
        self._row_sum = np.zeros(n_rows)
        self._row_nnz = np.zeros(n_rows, dtype=np.int64)
        self._row_npos = np.zeros(n_rows, dtype=np.int64)

    def partial(self) -> _Columns:
        n_classes = 1 if self._background is None else self._background.values.shape[0]
        return _Columns(self._matrix, n_classes, single=_squares_are_single(self._matrix))

    def partial_nbytes(self) -> int:
        return self._n_columns * 32

    def update(self, partial: _Columns, block: Block) -> None:
        if self._background is not None:
            self._update_rows(block, self._background.values)
            classes = block.classes()
            partial.update(block, classes, np.argsort(classes, kind="stable"))
            return
        rows = np.empty((block.n_rows, 3))
        axis_statistics(block.indptr, block.indices, block.values, partial.single, rows, partial.moments[0])
        self._row_sum[block.positions] = rows[:, 0]
        self._row_nnz[block.positions] = rows[:, 1]
        self._row_npos[block.positions] = rows[:, 2]

    def _update_rows(self, block: Block, background: NDArray[np.float64]) -> None:
        """Add to the background of each row what its stored entries change."""
        rows, classes, below = block.row_of_entry(), block.classes(), block.entry_background()
        for out, measure in (
            (self._row_sum, lambda x: x),
            (self._row_nnz, lambda x: x != 0),
            (self._row_npos, lambda x: x > 0),
        ):
            change = measure(block.values).astype(float) - measure(below)
            found = measure(background).sum(axis=1)[classes] + np.bincount(rows, change, minlength=block.n_rows)
            out[block.positions] = found.astype(out.dtype)

    def merge(self, total: _Columns, partial: _Columns) -> _Columns:
        total.add(partial)
        return total

    def join(self, results: list[Statistics]) -> Statistics:
        """Add the statistics of rows, concatenate those of columns."""
        known = [result.known for result in results]
        rows = {name: np.sum([k[name] for k in known], axis=0) for name in ROW_STATISTICS}
        return Statistics(rows | {name: np.concatenate([k[name] for k in known]) for name in COLUMN_STATISTICS})

    def result(self, total: _Columns) -> Statistics:
        if self._background is not None:
            total.add_unstored(self._background.class_counts(self._row_sum.size), self._background.values)
        col_sum, col_sumsq, col_nnz, col_npos = np.ascontiguousarray(total.moments.sum(axis=0).T)
        for values in (self._row_sum, self._row_nnz, self._row_npos):
            ACCOUNTANT.hold(values, "statistics", values.nbytes)
        return Statistics(
            {
                "row_sum": self._row_sum,
                "row_nnz": self._row_nnz,
                "row_npos": self._row_npos,
                "col_sum": col_sum,
                "col_sumsq": col_sumsq,
                "col_nnz": col_nnz.astype(np.int64),
                "col_npos": col_npos.astype(np.int64),
            }
        )


class StoredCounts(Reduction):
    """Number of stored values of each column, zeros among them, `(n_columns,)`."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._n_columns = matrix.shape[1]

    def partial(self) -> NDArray[np.int64]:
        return np.zeros(self._n_columns, dtype=np.int64)

    def partial_nbytes(self) -> int:
        return 8 * self._n_columns

    def update(self, partial: NDArray[np.int64], block: Block) -> None:
        partial += np.bincount(block.indices, minlength=self._n_columns)

    def merge(self, total: NDArray[np.int64], partial: NDArray[np.int64]) -> NDArray[np.int64]:
        return total + partial

    def result(self, total: NDArray[np.int64]) -> NDArray[np.int64]:
        return total


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

    def column_statistics(self, group: int) -> dict[str, NDArray]:
        """Return those of one group by the names in :data:`~scanpy_oom.matrix.statistics.COLUMN_STATISTICS`."""
        arrays = (self.total, self.total_squared, self.nnz, self.npos)
        return {name: values[group] for name, values in zip(COLUMN_STATISTICS, arrays, strict=True) if len(values)}

    def sum_of_groups(self) -> Moments:
        """Moments of all rows that are in a group, as one group."""
        fields = (self.n, self.total, self.total_squared, self.nnz, self.npos)
        return Moments(*(values.sum(axis=0, keepdims=True) for values in fields))

    def complement(self, n_groups: int) -> Moments:
        """Moments of all rows but those of a group, for each of the first `n_groups` groups."""
        fields = (self.n, self.total, self.total_squared, self.nnz, self.npos)
        return Moments(*(values.sum(axis=0) - values[:n_groups] for values in fields))


class GroupMoments(Reduction):
    """Moments of the columns within groups of rows.

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
    """

    by_columns = True

    def __init__(
        self, codes: NDArray[np.integer], n_groups: int, *, counted: bool = True, as_csr: bool = False
    ) -> None:
        self._as_csr = as_csr
        self._codes = np.asarray(codes, dtype=np.int64)
        self._n_groups = n_groups
        self.n_moments = 4 if counted else 2

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        self._single = _squares_are_single(matrix, as_csr=self._as_csr)
        self._n_columns = matrix.shape[1]
        self._background = matrix.chain.background
        self._n_classes = 1 if self._background is None else self._background.values.shape[0]
        self._fine = self._codes
        if self._background is not None and self._background.row_class.size:
            # rows of one group may have different backgrounds: keep them apart until the end
            fine = self._codes * self._n_classes + self._background.row_class
            self._fine = np.where(self._codes >= 0, fine, -1)

    def sums_like(self, other: GroupMoments) -> bool:
        """Whether both, once prepared, add stored values alone, in the same way, to the same groups, and count none."""
        return (
            self.n_moments == other.n_moments == 2
            and self._background is other._background is None
            and self._single == other._single
            and self._n_groups == other._n_groups
            and np.array_equal(self._codes, other._codes)
        )

    def empty_pair(self) -> NDArray[np.float64]:
        """Return zeros for the sums of two matrices, side by side, `(n_groups, n_columns, 4)`."""
        return np.zeros((self._n_groups, self._n_columns, 4))

    def codes_of(self, positions: slice | NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the group of each row of a block, and the rows in the order of their groups."""
        codes = self._fine[positions]
        return codes, np.argsort(codes, kind="stable")

    def partial(self, moments: NDArray[np.float64] | None = None) -> _Columns:
        """Return an empty partial result, whose moments are the zeros given if there are any."""
        n_groups = self._n_groups * self._n_classes
        return _Columns(self._matrix, n_groups, self.n_moments, moments, single=self._single)

    def partial_nbytes(self) -> int:
        return self._n_groups * self._n_classes * self._n_columns * 8 * self.n_moments

    def update(self, partial: _Columns, block: Block) -> None:
        partial.update(block, *self.codes_of(block.positions))

    def merge(self, total: _Columns, partial: _Columns) -> _Columns:
        total.add(partial)
        return total

    def join(self, results: list[Moments]) -> Moments:
        """Concatenate the columns."""
        arrays = [(m.total, m.total_squared, m.nnz, m.npos) for m in results]
        return Moments(results[0].n, *(np.concatenate(a, axis=1) for a in zip(*arrays, strict=True)))

    def result(self, total: _Columns) -> Moments:
        n_fine = self._n_groups * self._n_classes
        counts = np.bincount(self._fine[self._fine >= 0], minlength=n_fine)
        if self._background is not None:
            total.add_unstored(counts, np.tile(self._background.values, (self._n_groups, 1)))
        moments = total.moments.reshape(self._n_groups, self._n_classes, self._n_columns, self.n_moments).sum(axis=1)
        sums, squares, *counted = np.ascontiguousarray(np.moveaxis(moments, 2, 0))
        nnz, npos = (found.astype(np.int64) for found in counted) if counted else (_NO_COUNTS, _NO_COUNTS)
        n = counts.reshape(self._n_groups, self._n_classes).sum(axis=1)
        return Moments(n, sums, squares, nnz, npos)
