"""Sums over columns within groups of rows, which statistics and moments share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..engine.array_implementation import SummedImplementation
from ..kernels import group_moments, group_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..engine.device.device import Array
    from ..matrix import OOMMatrix

__all__ = ["ArrayColumnSums", "ColumnSums", "squares_are_single"]

S = TypeVar("S")
P = TypeVar("P")


def squares_are_single(matrix: OOMMatrix, *, as_csr: bool = False) -> bool:
    """Return whether squares of single-precision values are single, as in scanpy; their sum is then exact in any order.

    Of a column-compressed matrix it takes them in double precision, unless it makes it row-compressed first (`as_csr`).
    """
    by_row = as_csr or matrix.format_in_memory != "csc"
    return matrix.dtype == np.float32 and matrix.chain.fill_values is None and by_row


class ColumnSums:
    """Moments of the columns, within groups, of what is stored; and how much is stored.

    Parameters
    ----------
    shape
        Groups, columns and moments: sum and sum of squares, or number of non-zeros and of positive values, too.
    single
        Whether squares are rounded to single precision.
    counted
        Whether to count what is stored.
    moments
        Zeros to add to; None for new ones.
    """

    __slots__ = ("moments", "single", "stored")

    def __init__(
        self, shape: tuple[int, int, int], *, single: bool, counted: bool, moments: NDArray[np.float64] | None = None
    ) -> None:
        self.single = single
        self.moments = np.zeros(shape) if moments is None else moments  # side by side, since they are met together
        self.stored = np.zeros(shape[:2], dtype=np.int64) if counted else None

    def add(self, other: ColumnSums) -> None:
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

    def add_unstored(self, counts: NDArray[np.int64], fill_values: NDArray[np.float64]) -> None:
        """Add what is not stored: `fill_values`, one row a group, in groups of `counts` rows."""
        assert self.stored is not None
        unstored = counts[:, None] - self.stored
        measures = (fill_values, fill_values**2, fill_values != 0, fill_values > 0)
        for k, value in enumerate(measures[: self.moments.shape[2]]):
            self.moments[:, :, k] += unstored * value


class ArrayColumnSums(SummedImplementation[S, P]):
    """Array implementation of :class:`ColumnSums`; a last place takes what is in no group."""

    copies = 4

    columns: ColumnSums
    """Those on the host, to be set before it begins."""

    def sums_shape(self) -> tuple[int, ...]:
        n_groups, n_columns, n_moments = self.columns.moments.shape
        return n_moments + (self.columns.stored is not None), n_groups * n_columns + 1

    def add(self, block: ArrayBlock, codes: Array | None) -> None:
        """Add stored values to the groups of their rows; to the only one where there are no `codes`."""
        xp, values = self.xp, block.values
        n_groups, n_columns, n_moments = self.columns.moments.shape
        places = block.indices
        if codes is not None:
            groups = codes[block.rows]
            inside = groups * n_columns + block.indices
            places = xp.where(groups >= 0, inside, n_groups * n_columns)
        squares = values * values
        if self.columns.single:
            squares = squares.astype(np.float32).astype(np.float64)
        measures = [values, squares]
        if n_moments == 4:
            measures += [(values != 0).astype(np.float64), (values > 0).astype(np.float64)]
        if self.columns.stored is not None:
            measures.append(xp.ones_like(values))
        for k, measure in enumerate(measures):
            self.scatter(self.partial[k], places, measure)

    def finish(self) -> P:
        columns, found = self.columns, self.summed()[:, :-1]
        *shape, n_moments = columns.moments.shape
        columns.moments[...] = np.moveaxis(found[:n_moments].reshape(n_moments, *shape), 0, 2)
        if columns.stored is not None:
            columns.stored[...] = found[-1].reshape(shape).astype(np.int64)
        return self.host
