"""From rows of a source to a block of a matrix: fetch, select, transform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..kernels import look_up, row_totals, subtract_columns
from ..memory.buffer_pool import BUFFERS
from ..storage.sources.base import CSRBlock
from .cache.policy import missing_totals
from .compiled_steps import ColumnSteps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..matrix.transforms import RowTotals
    from ..matrix.transforms.program import BlockProgram, Program
    from .column_selector import ColumnChoice
    from .partition import Rows
    from .reader import Reader

__all__ = ["Block", "BlockReader", "fetch", "stored_rows"]

DENSE_CELLS = 2**20
"""Cells of a block that are made dense at a time."""


@dataclass(slots=True)
class Block:
    """A run of rows of a matrix, after selection and transforms.

    For some chains zeros become other values, the *fill values*; the stored values less the fill values are the
    *sparse part*, for which products and sums are computed as for any sparse matrix.

    Parameters
    ----------
    positions
        Positions of the rows in the matrix.
    indptr, indices, values
        What is stored, row-compressed; `values` are float64.
    n_columns
        Columns of the matrix.
    fill_values
        `(n_classes, n_columns)` values where nothing is stored; empty for zeros.
    row_class
        `(n_rows,)` class of each row; empty if all are of class 0.
    """

    positions: slice | NDArray[np.intp]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float64]
    n_columns: int
    fill_values: NDArray[np.float64]
    row_class: NDArray[np.int64]
    _sparse_part: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.indptr.size - 1

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return self.indptr.nbytes + self.indices.nbytes + self.values.nbytes

    def row_of_entry(self) -> NDArray[np.intp]:
        """Return the row within the block of each stored entry."""
        lengths = np.diff(self.indptr)
        if (lengths == 1).all():  # as of a single column: to repeat each once takes longer than all the rest
            return np.arange(self.n_rows)
        return np.repeat(np.arange(self.n_rows), lengths)

    def classes(self) -> NDArray[np.int64]:
        """Return the class of each row, also where there is but one."""
        return self.row_class if self.row_class.size else np.zeros(self.n_rows, dtype=np.int64)

    def entry_fill_values(self) -> NDArray[np.float64]:
        """Return the fill values at the place of each stored entry."""
        if self.fill_values.shape[0] == 1:
            return self.fill_values[0][self.indices]
        return self.fill_values[self.classes()[self.row_of_entry()], self.indices]

    def sparse_part(self) -> NDArray[np.float64]:
        """Return the stored values less the fill values; found once, for all that ask for it."""
        if not self.fill_values.size:
            return self.values
        if self._sparse_part is None:
            if self.fill_values.shape[0] == 1:
                self._sparse_part = BUFFERS.empty(self.values.size, np.float64)
                subtract_columns(self.indices, self.values, self.fill_values[0], self._sparse_part)
            else:
                self._sparse_part = self.values - self.entry_fill_values()
        return self._sparse_part

    def dense_rows(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the rows as dense arrays, a few at a time, with the number of the first."""
        step = max(1, DENSE_CELLS // max(self.n_columns, 1))
        for start in range(0, self.n_rows, step):
            yield start, self._dense(start, min(start + step, self.n_rows))

    def entries(self, *, full: bool) -> Iterator[tuple[slice, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """Yield which rows there are, with `indptr`, `indices` and values: those stored at once, or all in parts.

        Parameters
        ----------
        full
            Whether zeros that are not stored are among them.
        """
        if not full:
            yield slice(None), (self.indptr, self.indices, self.values)
            return
        for start, dense in self.dense_rows():
            n = dense.shape[0]
            columns = np.tile(np.arange(self.n_columns, dtype=np.int32), n)
            offsets = np.arange(n + 1, dtype=np.int64) * self.n_columns
            yield slice(start, start + n), (offsets, columns, dense.ravel())

    def toarray(self) -> NDArray[np.float64]:
        """Return all values of the block, dense."""
        return self._dense(0, self.n_rows)

    def _dense(self, start: int, stop: int) -> NDArray[np.float64]:
        first, last = self.indptr[start], self.indptr[stop]
        indptr, indices = self.indptr[start : stop + 1] - first, self.indices[first:last]
        shape = (stop - start, self.n_columns)
        if not self.fill_values.size:
            return sparse.csr_matrix((self.values[first:last], indices, indptr), shape=shape).toarray()
        fill_values = self.fill_values[self.classes()[start:stop]]
        rows = np.repeat(np.arange(stop - start), np.diff(indptr))
        increasing = (np.diff(indices) > 0)[np.diff(rows) == 0].all()
        if increasing or np.unique(rows * self.n_columns + indices).size == indices.size:
            fill_values[rows, indices] = self.values[first:last]
            return fill_values
        # entries stored for one place count as their sum
        return sparse.csr_matrix((self.sparse_part()[first:last], indices, indptr), shape=shape).toarray() + fill_values


def stored_rows(block: Block, *, sorts: bool, drops_zeros: bool) -> CSRBlock:
    """Return what a block stores, with values in the place of its fill_values.

    Parameters
    ----------
    block
        Not changed.
    sorts
        Whether its columns may not increase, and are put in order.
    drops_zeros
        Whether zeros that are stored are left out.
    """
    if not block.fill_values.size and not sorts and not drops_zeros:
        return CSRBlock(block.indptr, block.indices, block.values)
    content = (block.values, block.indices, block.indptr)
    shape = (block.n_rows, block.n_columns)
    rows = sparse.csr_matrix(block.toarray() if block.fill_values.size else content, shape=shape, copy=True)
    if drops_zeros:
        rows.eliminate_zeros()
    rows.sort_indices()
    return CSRBlock(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data)


def fetch(reader: Reader, rows: Rows, choice: ColumnChoice | None = None) -> CSRBlock:
    """Read rows, repeated ones repeated; of their columns those of `choice`, if it is given."""
    wanted = rows.source_rows
    if (np.diff(wanted) > 0).all():
        return reader.read(wanted, choice)
    distinct, inverse = np.unique(wanted, return_inverse=True)
    block = reader.read(distinct, choice)
    lengths = np.diff(block.indptr)[inverse.reshape(-1)]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.repeat(block.indptr[inverse.reshape(-1)] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return CSRBlock(indptr, block.indices[entries], block.data[entries])


_NO_CLASSES = np.empty(0, dtype=np.int64)
_NO_FILL_VALUES = np.empty((0, 0))
_NO_VALUES = np.empty(0)
_ALL = np.empty(0, dtype=bool)


class BlockReader:
    """Transforms what was fetched, for one matrix. Serves several threads at once.

    Parameters
    ----------
    matrix
        What is to be shown.
    fed
        Columns of the source that are fetched, ascending; None for all.
    """

    def __init__(self, matrix: OOMMatrix, fed: NDArray[np.intp] | None = None) -> None:
        shown = np.ones(matrix.source.shape[1], dtype=bool)
        if matrix.selection.columns is not None:
            shown[:] = False
            shown[matrix.selection.columns] = True
        self._n_columns = matrix.shape[1]
        self._program = matrix.chain.program
        self._filling = matrix.chain.filling
        self._fill_values = matrix.chain.fill_values_before_filling
        self._may_change_zeros = matrix.chain.may_change_zeros
        self._steps = self._compiled_tail()
        # those over the columns that are shown, each once, and those over others
        self._shown_totals, self._other_totals = [], []
        for totals in missing_totals(matrix):
            if totals.counts(shown) and not matrix.selection.repeats_columns:
                self._shown_totals.append(totals)
            else:
                counted = totals.counted[fed] if fed is not None and totals.counted.size else totals.counted
                self._other_totals.append((totals, counted))

    def _compiled_tail(self) -> ColumnSteps | None:
        """Return what follows the leading instructions as one loop, if there is anything and it can be one."""
        program = self._program
        if not program.tail or (program.single and not program.head):  # which would be rounded first
            return None
        single = program.head[-1].single if program.head else False
        return ColumnSteps.of(program.tail, self._n_columns, single=single)

    @property
    def needs_other_columns(self) -> bool:
        """True if row totals are to be found over other columns than those that are shown."""
        return bool(self._other_totals)

    def complete_totals(self, raw: CSRBlock, rows: Rows) -> None:
        """Find row totals over other columns than those that are shown."""
        for totals, counted in self._other_totals:
            _complete(totals, raw, counted, rows)

    def completed(self, shown: CSRBlock, rows: Rows) -> CSRBlock:
        """Find row totals over the columns that are shown, and return what is to be transformed.

        That is what is stored, and of an array the zeros of those rows whose operands, a total that is no number
        say, make something else of a zero.
        """
        for totals in self._shown_totals:
            _complete(totals, shown, _ALL, rows)
        if not self._may_change_zeros:
            return shown
        changes = self._program.for_rows(rows.positions, rows.source_rows).changes_zeros()
        return shown if changes is None or not changes.any() else _with_zeros(shown, changes, self._n_columns)

    def read(self, shown: CSRBlock, rows: Rows) -> Block:
        """Make a block of the stored values of the columns that are shown, with which it may share arrays."""
        shown = self.completed(shown, rows)
        fill_values, classes = _NO_FILL_VALUES, _NO_CLASSES
        if self._fill_values is not None:
            fill_values, classes = self._fill_values.values, self._fill_values.classes(rows.positions)
        stored = shown.data
        block = Block(rows.positions, shown.indptr, shown.indices, _NO_VALUES, self._n_columns, fill_values, classes)
        block.values = self._transformed(block, stored, rows) if len(self._program) else _double(stored)
        return block if self._filling is None else self._filled(block, self._filling, rows)

    @property
    def tabulates(self) -> bool:
        """True if values follow from what is stored and its row: then tables tell what becomes of small counts."""
        return bool(self._program.head) and not (self._program.tail or self._fill_values or self._filling)

    def tabulate(
        self, shown: CSRBlock, rows: Rows, missed: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tell what becomes of stored values.

        Parameters
        ----------
        shown, rows
            What :meth:`completed` returned, and which rows these are.
        missed
            `(n_missed,)` positions of the values that are no counts below `N_TABLE`.

        Returns
        -------
        What becomes of 0, 1, ..., `N_TABLE - 1` in each row, `(n_rows, N_TABLE)`, or `(1, N_TABLE)` if rows are alike;
        and of the values that are missed, `(n_missed,)`.
        """
        program = self._program.for_rows(rows.positions, rows.source_rows)
        return program.table(), self._one_by_one(program, shown.indptr, shown.data, missed)

    def _one_by_one(
        self, program: BlockProgram, indptr: NDArray[np.int64], stored: NDArray[np.floating], missed: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Run what leads the chain on the values at some positions."""
        rows = np.searchsorted(indptr, missed, side="right") - 1
        return program.run_head(_double(stored[missed]), rows)

    def _filled(self, block: Block, filling: Program, rows: Rows) -> Block:
        """Go on with all values of the block, of which none is a zero that need not be stored."""
        values = filling.for_rows(rows.positions, rows.source_rows).run_dense(block.toarray())
        n_rows, n_columns = values.shape
        indptr = np.arange(n_rows + 1, dtype=np.int64) * n_columns
        indices = np.tile(np.arange(n_columns, dtype=np.int32), n_rows)
        return Block(rows.positions, indptr, indices, values.ravel(), n_columns, _NO_FILL_VALUES, _NO_CLASSES)

    def _transformed(self, block: Block, stored: NDArray[np.floating], rows: Rows) -> NDArray[np.float64]:
        """Run the chain on the stored values."""
        program = self._program.for_rows(rows.positions, rows.source_rows)
        if self._program.head and not program.table_pays(stored.size):
            values = program.run_head(_double(stored), block.row_of_entry())
        elif self._program.head:
            values, missed = BUFFERS.empty(stored.size, np.float64), BUFFERS.empty(stored.size, np.int64)
            missed = missed[: look_up(block.indptr, stored, program.table(), values, missed)]
            if missed.size:
                values[missed] = self._one_by_one(program, block.indptr, stored, missed)
        else:
            values = _double(stored)
        if self._steps is not None:
            values = values.copy() if values is stored else values  # others may share what is stored
            self._steps.run(values, block.indices)
        elif self._program.tail:
            values = program.run_tail(values, block.row_of_entry(), block.indices)
        return values


def _complete(totals: RowTotals, fetched: CSRBlock, counted: NDArray[np.bool_], rows: Rows) -> None:
    known = totals.values[rows.source_rows]
    if np.isnan(known).any():
        row_totals(fetched.indptr, fetched.indices, fetched.data, counted, known)
        totals.values[rows.source_rows] = known


def _with_zeros(stored: CSRBlock, rows: NDArray[np.bool_], n_columns: int) -> CSRBlock:
    """Store the zeros of some rows, `(n_rows,)` booleans; columns are increasing, as they are in a reader."""
    lengths = np.where(rows, n_columns, np.diff(stored.indptr))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices, data = np.empty(indptr[-1], stored.indices.dtype), np.zeros(indptr[-1], stored.data.dtype)
    row_of_entry = np.repeat(np.arange(rows.size), np.diff(stored.indptr))
    whole = rows[row_of_entry]
    places = np.arange(stored.indices.size) - stored.indptr[row_of_entry]
    places = indptr[row_of_entry] + np.where(whole, stored.indices, places)
    indices[places], data[places] = stored.indices, stored.data
    for row in np.flatnonzero(rows):
        indices[indptr[row] : indptr[row + 1]] = np.arange(n_columns)
    return CSRBlock(indptr, indices, data)


def _double(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return values.astype(np.float64, copy=False)
