"""What is computed of each row apart, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..rowwise import HighlyExpressed, RowDeviations, RowExtrema, SetSums, TopSums
from .form import ArrayForm, SummedForm, add_up, array_form

if TYPE_CHECKING:
    from .block import ArrayBlock

__all__: list[str] = []


@array_form(SetSums)
class ArraySetSums(ArrayForm):
    """See :class:`~scanpy_oom.passes.SetSums`."""

    def begin(self) -> None:
        self.member = self.xp.asarray(self.reduction._member)

    def update(self, block: ArrayBlock) -> None:
        xp, member = self.xp, self.member[block.indices]
        # set by set, and not as a product, in which what is no number would reach the other sets
        sums = [block.row_sums(xp.where(inside, block.sparse_part, 0.0)) for inside in member.T]
        out = xp.stack(sums, axis=1) if sums else xp.zeros((block.n_rows, 0))
        if block.background is not None:
            out = out + (block.background @ self.member.astype(np.float64))[block.classes()]
        block.to_rows(out, self.reduction._out)

    def nbytes(self) -> int:
        return 9 * int(self.reduction._member.size)


@array_form(TopSums)
class ArrayTopSums(ArrayForm):
    """See :class:`~scanpy_oom.passes.TopSums`."""

    takes_background = False

    def update(self, block: ArrayBlock) -> None:
        xp, ns = self.xp, self.reduction._ns
        falling = xp.where(xp.isnan(block.values), -np.inf, -block.values)  # what is no number counts as the largest
        order = xp.lexsort(xp.stack([falling, block.rows.astype(np.float64)]))
        values, rows = block.values[order], block.rows[order]
        place = xp.arange(values.size) - block.indptr[rows]
        # zeros that are not stored stand before what is negative
        place += xp.where(values < 0, block.n_columns - (block.indptr[rows + 1] - block.indptr[rows]), 0)
        tops = [add_up(xp, rows, xp.where(place < int(n), values, 0.0), block.n_rows) for n in ns]
        block.to_rows(xp.stack(tops, axis=1), self.reduction._out)


@array_form(RowExtrema)
class ArrayRowExtrema(ArrayForm):
    """See :class:`~scanpy_oom.passes.rowwise.RowExtrema`."""

    takes_background = False

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        partly = xp.diff(block.indptr) < block.n_columns
        out = []
        for name, start in (("minimum", np.inf), ("maximum", -np.inf)):
            ufunc = getattr(xp, name)
            found = xp.full(block.n_rows, start)
            ufunc.at(found, block.rows, block.values)
            out.append(xp.where(partly, ufunc(found, 0.0), found))
        # not all devices find what is not a number to be an extreme
        missing = add_up(xp, block.rows, xp.isnan(block.values).astype(np.float64), block.n_rows) > 0
        found = xp.where(missing, np.nan, xp.stack(out))
        low, high, positions = self.reduction._out[0], self.reduction._out[1], block.positions

        def write(values: np.ndarray) -> None:
            low[positions], high[positions] = values

        block.to_host(found, write)


@array_form(RowDeviations)
class ArrayRowDeviations(ArrayForm):
    """See :class:`~scanpy_oom.passes.rowwise.RowDeviations`."""

    takes_background = False

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        unstored = block.n_columns - xp.diff(block.indptr)
        mean = block.row_sums(block.values) / block.n_columns
        squares = block.row_sums((block.values - mean[block.rows]) ** 2)
        # a full row may have any mean, also one that is not finite
        block.to_rows(squares + xp.where(unstored > 0, unstored * mean**2, 0.0), self.reduction._out)


@array_form(HighlyExpressed)
class ArrayHighlyExpressed(SummedForm):
    """See :class:`~scanpy_oom.passes.HighlyExpressed`."""

    takes_background = False

    def begin(self) -> None:
        self.shape = (self.matrix.shape[1],)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        totals = block.row_sums(block.values).astype(self.reduction._dtype).astype(np.float64)
        above = block.values > self.reduction._max_fraction * totals[block.rows]
        if self.matrix.chain.background is not None:  # all values are stored, and zeros express nothing
            above &= block.values != 0
        self.scatter(self.partial, block.indices, above.astype(np.float64))

    def finish(self) -> Any:
        return self.summed() > 0

    def nbytes(self) -> int:
        return 16 * int(self.matrix.shape[1])
