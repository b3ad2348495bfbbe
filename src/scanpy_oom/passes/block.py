"""From rows of a source to a block of a matrix: fetch, select, transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..io.source import CSRBlock
from ..kernels import is_increasing, look_up, row_totals, select_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..matrix.transforms import RowTotals
    from .plan import Rows

__all__ = ["Block", "BlockReader", "fetch"]

DENSE_CELLS = 2**20
"""Cells of a block that are made dense at a time."""


@dataclass(slots=True)
class Block:
    """A run of rows of a matrix, after selection and transforms.

    For some chains zeros become other values, the *background*; the stored values less the background are the
    *sparse part*, for which products and sums are computed as for any sparse matrix.

    Parameters
    ----------
    positions
        Positions of the rows in the matrix.
    indptr, indices, values
        What is stored, row-compressed; `values` are float64.
    n_columns
        Columns of the matrix.
    background
        `(n_classes, n_columns)` values where nothing is stored; empty for zeros.
    row_class
        `(n_rows,)` class of each row; empty if all are of class 0.
    """

    positions: slice | NDArray[np.intp]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float64]
    n_columns: int
    background: NDArray[np.float64]
    row_class: NDArray[np.int64]

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
        return np.repeat(np.arange(self.n_rows), np.diff(self.indptr))

    def classes(self) -> NDArray[np.int64]:
        """Return the class of each row, also where there is but one."""
        return self.row_class if self.row_class.size else np.zeros(self.n_rows, dtype=np.int64)

    def entry_background(self) -> NDArray[np.float64]:
        """Return the background at the place of each stored entry."""
        if self.background.shape[0] == 1:
            return self.background[0][self.indices]
        return self.background[self.classes()[self.row_of_entry()], self.indices]

    def sparse_part(self) -> NDArray[np.float64]:
        """Return the stored values less the background."""
        return self.values - self.entry_background() if self.background.size else self.values

    def dense_rows(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the rows as dense arrays, a few at a time, with the number of the first."""
        step = max(1, DENSE_CELLS // max(self.n_columns, 1))
        for start in range(0, self.n_rows, step):
            yield start, self._dense(start, min(start + step, self.n_rows))

    def toarray(self) -> NDArray[np.float64]:
        """Return all values of the block, dense."""
        return self._dense(0, self.n_rows)

    def _dense(self, start: int, stop: int) -> NDArray[np.float64]:
        first, last = self.indptr[start], self.indptr[stop]
        indptr, indices = self.indptr[start : stop + 1] - first, self.indices[first:last]
        shape = (stop - start, self.n_columns)
        if not self.background.size:
            return sparse.csr_matrix((self.values[first:last], indices, indptr), shape=shape).toarray()
        background = self.background[self.classes()[start:stop]]
        rows = np.repeat(np.arange(stop - start), np.diff(indptr))
        increasing = (np.diff(indices) > 0)[np.diff(rows) == 0].all()
        if increasing or np.unique(rows * self.n_columns + indices).size == indices.size:
            background[rows, indices] = self.values[first:last]
            return background
        # entries stored for one place count as their sum
        return sparse.csr_matrix((self.sparse_part()[first:last], indices, indptr), shape=shape).toarray() + background


def fetch(matrix: OOMMatrix, rows: Rows) -> CSRBlock:
    """Read rows of the source, repeated ones repeated, with one entry for each place."""
    raw = _fetch_as_stored(matrix, rows)
    if is_increasing(raw.indptr, raw.indices):
        return raw
    # entries stored for one place count as their sum; the order of columns is of no account
    shape = (raw.indptr.size - 1, matrix.source.shape[1])
    summed = sparse.csr_matrix((raw.data, raw.indices, raw.indptr), shape=shape)
    summed.sum_duplicates()
    return CSRBlock(summed.indptr.astype(np.int64), summed.indices.astype(np.int32), summed.data)


def _fetch_as_stored(matrix: OOMMatrix, rows: Rows) -> CSRBlock:
    wanted = rows.source_rows
    if (np.diff(wanted) == 1).all():
        return matrix.source.read_rows(slice(int(wanted[0]), int(wanted[-1]) + 1))
    distinct, inverse = np.unique(wanted, return_inverse=True)
    block = matrix.source.read_rows(distinct)
    if distinct.size == wanted.size:
        return block
    shape = (distinct.size, matrix.source.shape[1])
    repeated = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=shape)[inverse.reshape(-1)]
    return CSRBlock(repeated.indptr.astype(np.int64), repeated.indices.astype(np.int32), repeated.data)


_NO_CLASSES = np.empty(0, dtype=np.int64)
_NO_BACKGROUND = np.empty((0, 0))


class BlockReader:
    """Selects and transforms what was fetched, for one matrix. Serves several threads at once."""

    def __init__(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        self._n_columns = matrix.shape[1]
        self._program = matrix.chain.program
        self._background = matrix.chain.background
        columns = matrix.selection.columns
        self._repeated = columns if matrix.selection.repeats_columns else None
        self._column_map = None if columns is None or self._repeated is not None else matrix.selection.column_map()

    def read(self, raw: CSRBlock, rows: Rows) -> Block:
        """Make a block of the matrix of `raw`, whose indices are overwritten."""
        for totals in self._matrix.chain.totals:
            _complete(totals, raw, rows.source_rows)
        background, classes = _NO_BACKGROUND, _NO_CLASSES
        if self._background is not None:
            background, classes = self._background.values, self._background.classes(rows.positions)
        indptr, indices, values = self._select(raw)
        block = Block(rows.positions, indptr, indices, values, self._n_columns, background, classes)
        if len(self._program):
            self._transform(block, rows)
        return block

    def _select(self, raw: CSRBlock) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        if self._repeated is not None:
            shape = (raw.indptr.size - 1, self._matrix.source.shape[1])
            wide = sparse.csr_matrix((raw.data, raw.indices, raw.indptr), shape=shape)[:, self._repeated]
            return wide.indptr.astype(np.int64), wide.indices.astype(np.int32), wide.data.astype(np.float64)
        if self._column_map is None:
            return raw.indptr, raw.indices, raw.data.astype(np.float64)
        indptr, values = np.empty_like(raw.indptr), np.empty(raw.indices.size)
        kept = select_columns(raw.indptr, raw.indices, raw.data, self._column_map, indptr, values)
        return indptr, raw.indices[:kept], values[:kept]

    def _transform(self, block: Block, rows: Rows) -> None:
        """Run the chain on the stored values, in place."""
        program = self._program.for_rows(rows.positions, rows.source_rows)
        if self._program.head:
            missed = np.empty(block.values.size, dtype=np.int64)
            missed = missed[: look_up(block.indptr, block.values, program.table(), missed)]
            if missed.size:
                at = np.searchsorted(block.indptr, missed, side="right") - 1
                block.values[missed] = program.run(block.values[missed], self._program.head, at)
        if self._program.tail:
            block.values[:] = program.run(block.values, self._program.tail, block.row_of_entry(), block.indices)


def _complete(totals: RowTotals, raw: CSRBlock, source_rows: NDArray[np.intp]) -> None:
    """Find the row totals that are not known yet."""
    known = totals.values[source_rows]
    if np.isnan(known).any():
        row_totals(raw.indptr, raw.indices, raw.data, totals.counted, known)
        totals.values[source_rows] = known
