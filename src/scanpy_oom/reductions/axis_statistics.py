"""Statistics of rows and columns, and counts of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..engine.array_implementation import ArraySums, implements
from ..engine.reduction import Reduction
from ..kernels import axis_statistics
from ..matrix.known_statistics import COLUMN_STATISTICS, ROW_STATISTICS, Statistics
from ..memory.ledger import ACCOUNTANT
from .column_sums import ArrayColumnSums, ColumnSums, squares_are_single

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..engine.device.device import Array
    from ..matrix import OOMMatrix

__all__ = ["AxisStatistics", "StoredCounts"]


class AxisSums(NamedTuple):
    """Partial result of :class:`AxisStatistics`.

    Parameters
    ----------
    rows
        Sum, number of non-zeros and number of positive values of each row, to which all tasks write.
    columns
        Sums over columns by class of fill values.
    """

    rows: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
    columns: ColumnSums


class AxisStatistics(Reduction):
    """Everything in :data:`~scanpy_oom.matrix.known_statistics.ROW_STATISTICS` and `COLUMN_STATISTICS`."""

    by_columns = True

    def prepare(self, matrix: OOMMatrix) -> None:
        n_rows, self._n_columns = matrix.shape
        self._fill_values = matrix.chain.fill_values
        self._single = squares_are_single(matrix)
        self._rows = np.zeros(n_rows), np.zeros(n_rows, dtype=np.int64), np.zeros(n_rows, dtype=np.int64)

    @property
    def _n_classes(self) -> int:
        return 1 if self._fill_values is None else self._fill_values.values.shape[0]

    def partial(self) -> AxisSums:
        shape = self._n_classes, self._n_columns, 4
        return AxisSums(self._rows, ColumnSums(shape, single=self._single, counted=self._fill_values is not None))

    def partial_nbytes(self) -> int:
        return self._n_classes * self._n_columns * 32

    def update(self, partial: AxisSums, block: Block) -> None:
        columns = partial.columns
        if self._fill_values is not None:
            _update_rows(partial.rows, block, self._fill_values.values)
            classes = block.classes()
            columns.update(block, classes, np.argsort(classes, kind="stable"))
            return
        found = np.empty((block.n_rows, 3))
        axis_statistics(block.indptr, block.indices, block.values, columns.single, found, columns.moments[0])
        for k, out in enumerate(partial.rows):
            out[block.positions] = found[:, k]

    def by_row(self) -> Sequence[np.ndarray]:
        return self._rows

    def pack(self, partial: AxisSums) -> ColumnSums:
        return partial.columns

    def unpack(self, packed: ColumnSums) -> AxisSums:
        return AxisSums(self._rows, packed)

    def merge(self, total: AxisSums, partial: AxisSums) -> AxisSums:
        total.columns.add(partial.columns)
        return total

    def join(self, results: list[Statistics]) -> Statistics:
        """Add the statistics of rows, concatenate those of columns."""
        known = [result.known for result in results]
        rows = {name: np.sum([k[name] for k in known], axis=0) for name in ROW_STATISTICS}
        return Statistics(rows | {name: np.concatenate([k[name] for k in known]) for name in COLUMN_STATISTICS})

    def result(self, total: AxisSums) -> Statistics:
        rows, columns = total
        if self._fill_values is not None:
            columns.add_unstored(self._fill_values.class_counts(rows[0].size), self._fill_values.values)
        col_sum, col_sumsq, col_nnz, col_npos = np.ascontiguousarray(columns.moments.sum(axis=0).T)
        for values in rows:
            ACCOUNTANT.hold(values, "statistics", values.nbytes)
        of_columns = col_sum, col_sumsq, col_nnz.astype(np.int64), col_npos.astype(np.int64)
        known = dict(zip(ROW_STATISTICS, rows, strict=True))
        return Statistics(known | dict(zip(COLUMN_STATISTICS, of_columns, strict=True)))


_MEASURES: tuple[Callable[[Array], Array], ...] = (lambda x: x, lambda x: x != 0, lambda x: x > 0)
"""Functions of the values, of which the statistics of rows are sums."""


def _update_rows(rows: tuple[np.ndarray, ...], block: Block, fill_values: NDArray[np.float64]) -> None:
    """Add to the fill values of each row what its stored entries change."""
    row_of_entry, classes, below = block.row_of_entry(), block.classes(), block.entry_fill_values()
    for out, measure in zip(rows, _MEASURES, strict=True):
        change = measure(block.values).astype(float) - measure(below)
        found = measure(fill_values).sum(axis=1)[classes] + np.bincount(row_of_entry, change, minlength=block.n_rows)
        out[block.positions] = found.astype(out.dtype)


@implements(AxisStatistics)
class ArrayAxisStatistics(ArrayColumnSums[None, AxisSums]):
    """Array implementation of :class:`AxisStatistics`."""

    def begin(self, host: AxisSums) -> None:
        self.columns = host.columns
        super().begin(host)

    def update(self, block: ArrayBlock) -> None:
        rows = []
        for measure in _MEASURES:
            change = measure(block.values).astype(np.float64)
            if block.fill_values is None:
                rows.append(block.row_sums(change))
                continue
            change = change - measure(block.entry_fill_values())
            rows.append(measure(block.fill_values).sum(axis=1)[block.classes()] + block.row_sums(change))
        found = self.xp.stack(rows)
        self.add(block, None if block.fill_values is None else block.classes())
        positions, known = block.positions, self.host.rows

        def write(values: NDArray[np.float64]) -> None:
            for out, one in zip(known, values, strict=True):
                out[positions] = one.astype(out.dtype)

        block.to_host(found, write)


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


@implements(StoredCounts)
class ArrayStoredCounts(ArraySums[None]):
    """Array implementation of :class:`StoredCounts`."""

    def update(self, block: ArrayBlock) -> None:
        self.scatter(self.partial, block.indices, self.xp.ones(block.indices.size))

    def finish(self) -> NDArray[np.int64]:
        return self.summed().astype(np.int64)
