"""Sums within groups of rows of values that are cut at a bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import SummedImplementation, implements
from ..engine.reduction import Reduction
from ..kernels import group_clipped_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

__all__ = ["ClippedSpec", "GroupClippedSums"]


@dataclass(frozen=True, slots=True, eq=False)
class ClippedSpec:
    """Parameters of :class:`GroupClippedSums`.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    highest
        `(n_groups, n_columns)` bounds.
    is_dense
        Whether the matrix would be an array in memory, of which zeros are cut, too.
    """

    codes: NDArray[np.int64]
    highest: NDArray[np.float64]
    is_dense: bool = False


class GroupClippedSums(Reduction):
    """Sums and sums of squares of the columns within groups, `(2, n_groups, n_columns)`, of values cut at a bound.

    They are added one after the other, as scanpy adds them: genes of equal counts then have equal sums, whatever
    tasks their cells fall into, and ties stay ties.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    highest
        `(n_groups, n_columns)` bounds.
    """

    in_order = True
    spec: ClippedSpec

    def __init__(self, codes: NDArray[np.integer], highest: NDArray[np.float64]) -> None:
        self.spec = ClippedSpec(np.asarray(codes, dtype=np.int64), np.ascontiguousarray(highest, dtype=np.float64))

    def prepare(self, matrix: OOMMatrix) -> None:
        self.spec = replace(self.spec, is_dense=matrix.is_dense)

    def partial(self) -> NDArray[np.float64]:
        return np.zeros((*self.spec.highest.shape, 2))

    def partial_nbytes(self) -> int:
        return 16 * self.spec.highest.size

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        codes = self.spec.codes[block.positions]
        full = self.spec.is_dense or block.fill_values.size > 0  # then zeros are cut, too
        for rows, entries in block.entries(full=full):
            group_clipped_sums(*entries, codes[rows], self.spec.highest, partial)

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.moveaxis(total, 2, 0))


@implements(GroupClippedSums)
class ArrayGroupClippedSums(SummedImplementation[ClippedSpec, "NDArray[np.float64]"]):
    """Array implementation of :class:`GroupClippedSums`."""

    copies = 3

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return block.fill_values is not None or self.spec.is_dense

    def sums_shape(self) -> tuple[int, ...]:
        return 2, self.spec.highest.size + 1  # one place more for what is in no group

    def begin(self, host: NDArray[np.float64]) -> None:
        self.highest = self.xp.asarray(self.spec.highest)
        super().begin(host)

    def update(self, block: ArrayBlock) -> None:
        xp, n = self.xp, self.spec.highest.size
        groups = block.of_rows(self.spec.codes)[block.rows]
        places = xp.where(groups >= 0, groups * block.n_columns + block.indices, n)
        x = xp.minimum(block.values, self.highest[groups, block.indices])
        squares = x * x
        self.scatter(self.partial[0], places, x)
        self.scatter(self.partial[1], places, squares)

    def finish(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.moveaxis(self.summed()[:, :-1].reshape(2, *self.spec.highest.shape), 0, 2))
