"""Moments and counts, by row, by column and by group of rows, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..moments import AxisStatistics, GroupMoments, StoredCounts
from .form import SummedForm, array_form

if TYPE_CHECKING:
    from .block import ArrayBlock
    from .device import Array

__all__: list[str] = []


class _Columns(SummedForm):
    """Moments of the columns within groups, and how much is stored; a last place takes what is in no group."""

    n_groups: int
    n_moments: int

    def begin(self) -> None:
        host = self.reduction.partial()
        self.n_groups, self.n_columns, self.n_moments = host.moments.shape
        self.single, self.counts_stored = host.single, host.stored is not None
        self.shape = (self.n_moments + self.counts_stored, self.n_groups * self.n_columns + 1)
        super().begin()

    def add(self, block: ArrayBlock, codes: Array | None) -> None:
        """Add stored values to the groups of their rows; to the only one where there are no `codes`."""
        xp, values = self.xp, block.values
        places = block.indices
        if codes is not None:
            groups = codes[block.rows]
            inside = groups * self.n_columns + block.indices
            places = xp.where(groups >= 0, inside, self.n_groups * self.n_columns)
        squares = values * values
        if self.single:
            squares = squares.astype(np.float32).astype(np.float64)
        measures = [values, squares]
        if self.n_moments == 4:
            measures += [(values != 0).astype(np.float64), (values > 0).astype(np.float64)]
        if self.counts_stored:
            measures.append(xp.ones_like(values))
        for k, measure in enumerate(measures):
            self.scatter(self.partial[k], places, measure)

    def finish(self) -> Any:
        host, found = self.reduction.partial(), self.summed()[:, :-1]
        shape = (self.n_groups, self.n_columns)
        host.moments[...] = np.moveaxis(found[: self.n_moments].reshape(self.n_moments, *shape), 0, 2)
        if host.stored is not None:
            host.stored[...] = found[-1].reshape(shape).astype(np.int64)
        return host

    def nbytes(self) -> int:
        return 3 * int(self.reduction.partial_nbytes())


@array_form(AxisStatistics)
class ArrayAxisStatistics(_Columns):
    """See :class:`~scanpy_oom.passes.AxisStatistics`."""

    def update(self, block: ArrayBlock) -> None:
        reduction, xp = self.reduction, self.xp
        measures = ((lambda x: x), (lambda x: (x != 0).astype(np.float64)), (lambda x: (x > 0).astype(np.float64)))
        rows = []
        for measure in measures:
            change = measure(block.values)
            if block.background is None:
                rows.append(block.row_sums(change))
                continue
            change = change - measure(block.entry_background())
            rows.append(measure(block.background).sum(axis=1)[block.classes()] + block.row_sums(change))
        found = xp.stack(rows)
        self.add(block, None if block.background is None else block.classes())
        positions = block.positions

        def write(values: np.ndarray) -> None:
            for out, one in zip((reduction._row_sum, reduction._row_nnz, reduction._row_npos), values, strict=True):
                out[positions] = one.astype(out.dtype)

        block.to_host(found, write)


@array_form(GroupMoments)
class ArrayGroupMoments(_Columns):
    """See :class:`~scanpy_oom.passes.GroupMoments`."""

    def update(self, block: ArrayBlock) -> None:
        self.add(block, block.of_rows(self.reduction._fine))


@array_form(StoredCounts)
class ArrayStoredCounts(SummedForm):
    """See :class:`~scanpy_oom.passes.moments.StoredCounts`."""

    def begin(self) -> None:
        self.shape = (self.matrix.shape[1],)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        self.scatter(self.partial, block.indices, self.xp.ones(block.indices.size))

    def finish(self) -> Any:
        return self.summed().astype(np.int64)
