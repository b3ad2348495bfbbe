"""Drawing counts of cells: of each cell apart, or of all together."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import sparse

from .. import _scanpy
from .._scanpy import SCANPY_1_13
from ..engine.reduction import Reduction
from ..engine.sources.scratch import ScratchRows
from ..errors import UnsupportedOutOfMemory
from ..kernels import sorted_choice
from ..storage.sources.base import CSRBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._scanpy import Draws
    from ..engine.block import Block
    from ..matrix import OOMMatrix

__all__ = ["DownsampleRows", "DownsampleTotal", "RunningSum", "sorted_draws"]


class _Downsample(ScratchRows):
    """Writes counts that were drawn to scratch space; the result is a matrix."""

    sums_first: bool = False
    """True if scanpy sums up all values first, which in newer SciPy puts entries in order by column."""

    _what = "downsampled counts"

    def prepare(self, matrix: OOMMatrix) -> None:
        super().prepare(matrix)
        # in memory, a row-compressed matrix whose columns were reordered keeps its entries in the order they had
        by_rows = matrix.format_in_memory == "csr"
        self._ascending = not by_rows or (self.sums_first and _summing_sorts())

    def update(self, partial: None, block: Block) -> None:
        rows = sparse.csr_matrix(block.toarray()) if block.fill_values.size else _rows_of(block)
        if self._ascending:
            rows.sort_indices()
        rows.data = rows.data.astype(self.dtype)
        positions = self._positions[block.positions]
        self._draw(rows, positions)
        rows.eliminate_zeros()
        rows.sort_indices()
        self.write(positions, CSRBlock(rows.indptr, rows.indices, rows.data))

    @abstractmethod
    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        """Replace the counts of `rows`, which stand at `positions` of the matrix, by those drawn."""


class DownsampleRows(_Downsample):
    """Counts of each row drawn by scanpy's own kernel, where they are more than a target.

    Parameters
    ----------
    targets
        `(n_rows,)`.
    draws, replace
        For the kernel: the seed from which it starts anew for each row, or a generator, by the name of the argument.
    sum_dtype
        Dtype of scanpy's sums of rows.
    in_order
        Whether the kernel has numbers that rows draw from one after the other, those of NumPy among them.
    """

    def __init__(
        self,
        targets: NDArray[np.integer],
        draws: Draws,
        *,
        replace: bool,
        sum_dtype: np.dtype,
        in_order: bool = False,
    ) -> None:
        self._targets = targets
        self._how = {**draws, "replace": replace, "inplace": True}
        self.in_order = in_order
        self._sum_dtype = sum_dtype

    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        totals = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel().astype(self._sum_dtype)
        targets = self._targets[positions]
        for i in np.flatnonzero(totals > targets):
            _scanpy.downsample_array(rows.data[rows.indptr[i] : rows.indptr[i + 1]], targets[i], **self._how)


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

    def prepare(self, matrix: OOMMatrix) -> None:
        super().prepare(matrix)
        self._running = RunningTotal(matrix.dtype)

    def _draw(self, rows: sparse.csr_matrix, positions: NDArray[np.intp]) -> None:
        if rows.data.size and rows.data.min() < 0:
            reason = "some counts are below zero, so that their running total, by which scanpy draws, goes back"
            raise UnsupportedOutOfMemory(reason)
        if self._starts is None:
            ends = self._running.add(rows.data)
            before = self._kept_so_far
            self._kept_so_far = int(np.searchsorted(self._drawn, _ceil(ends[-1:]))[0]) if ends.size else before
            kept = np.searchsorted(self._drawn, _ceil(ends))
            rows.data[:] = np.diff(kept, prepend=before).astype(self.dtype)
            return
        for i, position in enumerate(positions):
            entries = slice(rows.indptr[i], rows.indptr[i + 1])
            ends = self._starts[position] + np.concatenate([[0.0], np.cumsum(rows.data[entries], dtype=np.float64)])
            rows.data[entries] = np.diff(np.searchsorted(self._drawn, _ceil(ends))).astype(self.dtype)

    _kept_so_far = 0


@cache
def _summing_sorts() -> bool:
    """Return whether the installed SciPy puts entries in order when it sums up all values of a CSR matrix."""
    matrix = sparse.csr_matrix((np.ones(2), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    matrix.sum()
    return bool((np.diff(matrix.indices) > 0).all())


def _ceil(ends: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.ceil(ends).astype(np.int64)


class RunningTotal:
    """A running sum, rounded to the type of the values at each, as scanpy's kernel has it.

    Parameters
    ----------
    dtype
        float32 or float64.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.total = dtype.type(0)

    def add(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Go on by `values`; return the sum after each."""
        sums: NDArray[np.floating] = np.cumsum(np.concatenate([[self.total], values]), dtype=self.total.dtype)[1:]
        self.total = sums[-1] if sums.size else self.total
        return sums


class RunningSum(Reduction):
    """Sum of all values, rounded to the type of the matrix at each, in the order of the rows."""

    in_order = True

    def prepare(self, matrix: OOMMatrix) -> None:
        self._dtype = matrix.dtype

    def partial(self) -> RunningTotal:
        return RunningTotal(self._dtype)

    def update(self, partial: RunningTotal, block: Block) -> None:
        partial.add(block.values.astype(self._dtype))

    def merge(self, total: RunningTotal, partial: RunningTotal) -> RunningTotal:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: RunningTotal) -> float:
        return float(total.total)


def _rows_of(block: Block) -> sparse.csr_matrix:
    shape = (block.n_rows, block.n_columns)
    return sparse.csr_matrix((block.values, block.indices.copy(), block.indptr.copy()), shape=shape)


def sorted_draws(draws: Draws, total: int, target: int, *, replace: bool) -> NDArray[np.int64]:
    """Draw numbers below `total` as scanpy's kernel does, ascending."""
    if not SCANPY_1_13:
        return sorted_choice(cast("int", draws["random_state"]), total, target, replace)
    drawn = _scanpy.draws_of_numpy(draws["rng"]).choice(total, target, replace=replace)
    drawn.sort()
    return drawn
