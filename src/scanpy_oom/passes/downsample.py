"""Drawing counts of cells: of each cell apart, or of all together."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy.preprocessing._simple import _downsample_array
from scipy import sparse

from ..matrix import OOMMatrix
from .reductions import Reduction
from .staged import StagedSourceWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .block import Block

__all__ = ["DownsampleRows", "DownsampleTotal", "SingleTotal"]


class _Downsample(Reduction):
    """Writes counts that were drawn to scratch space; the result is a matrix."""

    is_final = True

    sums_first: bool = False
    """Whether scanpy sums up all values first, which in newer SciPy puts entries in order by column."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._dtype = matrix.dtype
        # in memory, a row-compressed matrix whose columns were reordered keeps its entries in the order they had
        by_rows = matrix.format_in_memory == "csr"
        self._ascending = not by_rows or (self.sums_first and _summing_sorts())
        rows = matrix.selection.rows
        # rows come in the order of the source, and are written in this order
        self._rank: NDArray[np.intp] | None = None
        if rows is not None and (np.diff(rows) < 0).any():
            self._rank = np.argsort(np.argsort(rows, kind="stable"), kind="stable")
        self._n_rows = matrix.shape[0]
        self._writer = StagedSourceWriter(matrix, "downsampled counts")

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        rows = sparse.csr_matrix(block.toarray()) if block.background.size else _rows_of(block)
        if self._ascending:
            rows.sort_indices()
        rows.data = rows.data.astype(self._dtype)
        positions = np.arange(self._n_rows)[block.positions]
        self._draw(rows, positions)
        rows.eliminate_zeros()
        rows.sort_indices()
        first = int(positions[0] if self._rank is None else self._rank[positions[0]])
        indices = rows.indices.astype(np.int32, copy=False)
        self._writer.add(first, rows.indptr.astype(np.int64), indices, rows.data)

    @abstractmethod
    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        """Replace the counts of `rows`, which stand at `positions` of the matrix, by those drawn."""

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> OOMMatrix:
        return OOMMatrix.from_source(self._writer.finish()).select(self._rank)


class DownsampleRows(_Downsample):
    """Counts of each row drawn by scanpy's own kernel, where they are more than a target.

    Parameters
    ----------
    targets
        `(n_rows,)`.
    seed, replace
        For the kernel, which starts anew from the seed for each row.
    sum_dtype
        Dtype of scanpy's sums of rows.
    """

    def __init__(self, targets: NDArray[np.integer], *, seed: Any, replace: bool, sum_dtype: np.dtype) -> None:
        self._targets = targets
        self._how = {"random_state": seed, "replace": replace, "inplace": True}
        self._sum_dtype = sum_dtype

    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        totals = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel().astype(self._sum_dtype)
        targets = self._targets[positions]
        for i in np.flatnonzero(totals > targets):
            _downsample_array(rows.data[rows.indptr[i] : rows.indptr[i + 1]], targets[i], **self._how)


class DownsampleTotal(_Downsample):
    """Counts of all rows together, by the numbers that were drawn.

    Parameters
    ----------
    drawn
        Ascending numbers below the total of all counts: count number `k`, from the first row on, is kept once for each
        time that `k` is among them.
    starts
        `(n_rows,)` counts before each row; None to count them in the dtype of the values, row after row.
    """

    sums_first = True

    def __init__(self, drawn: NDArray[np.int64], starts: NDArray[np.float64] | None) -> None:
        self._drawn = drawn
        self._starts = starts
        self.in_order = starts is None
        self._running = RunningTotal()

    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        if self._starts is None:
            ends = self._running.add(rows.data)
            before = self._kept_so_far
            self._kept_so_far = int(np.searchsorted(self._drawn, _ceil(ends[-1:]))[0]) if ends.size else before
            kept = np.searchsorted(self._drawn, _ceil(ends))
            rows.data[:] = np.diff(kept, prepend=before).astype(self._dtype)
            return
        for i, position in enumerate(positions):
            entries = slice(rows.indptr[i], rows.indptr[i + 1])
            ends = self._starts[position] + np.concatenate([[0.0], np.cumsum(rows.data[entries], dtype=np.float64)])
            rows.data[entries] = np.diff(np.searchsorted(self._drawn, _ceil(ends))).astype(self._dtype)

    _kept_so_far = 0


@cache
def _summing_sorts() -> bool:
    """Whether the sum of all values of a row-compressed matrix puts its entries in order, in the installed SciPy."""
    matrix = sparse.csr_matrix((np.ones(2), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    matrix.sum()
    return bool((np.diff(matrix.indices) > 0).all())


def _ceil(ends: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.ceil(ends).astype(np.int64)


class RunningTotal:
    """A running sum of single-precision values, rounded to single precision at each, as scanpy's kernel has it."""

    def __init__(self) -> None:
        self.total = np.float32(0)

    def add(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Go on by `values`; return the sum after each."""
        sums: NDArray[np.float32] = np.cumsum(np.concatenate([[self.total], values]), dtype=np.float32)[1:]
        self.total = sums[-1] if sums.size else self.total
        return sums


class SingleTotal(Reduction):
    """Sum of all values, rounded to single precision at each, in the order of the rows."""

    in_order = True

    def prepare(self, matrix: OOMMatrix) -> None:
        return None

    def partial(self) -> RunningTotal:
        return RunningTotal()

    def update(self, partial: RunningTotal, block: Block) -> None:
        partial.add(block.values.astype(np.float32))

    def merge(self, total: RunningTotal, partial: RunningTotal) -> RunningTotal:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: RunningTotal) -> float:
        return float(total.total)


def _rows_of(block: Block) -> sparse.csr_matrix:
    shape = (block.n_rows, block.n_columns)
    return sparse.csr_matrix((block.values, block.indices.copy(), block.indptr.copy()), shape=shape)
