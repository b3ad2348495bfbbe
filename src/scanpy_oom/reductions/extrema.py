"""Smallest and largest value, and what kind of numbers there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import ArrayImplementation, implements
from ..engine.reduction import Reduction
from ..kernels import extrema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

__all__ = ["ColumnExtrema", "Extrema", "ExtremaReduction"]


@dataclass(frozen=True, slots=True)
class Extrema:
    """Facts about all values of a matrix.

    Parameters
    ----------
    minimum, maximum
        Smallest and largest value, zeros that are not stored included; NaN if there is one.
    all_whole
        Whether all are whole numbers.
    any_negative
        Whether one is below zero.
    """

    minimum: float
    maximum: float
    all_whole: bool
    any_negative: bool


class ExtremaReduction(Reduction):
    """See :class:`Extrema`."""

    by_columns = True

    def prepare(self, matrix: OOMMatrix) -> None:
        self._size = matrix.shape[0] * matrix.shape[1]

    def partial(self) -> NDArray[np.float64]:
        # minimum, maximum, values that are not whole, negative ones, values seen
        return np.array([np.inf, -np.inf, 0.0, 0.0, 0.0])

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        for _, (_, _, values) in block.entries(full=block.fill_values.size > 0):
            extrema(values, partial)
            partial[4] += values.size

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([np.minimum(total[0], partial[0]), np.maximum(total[1], partial[1]), *(total + partial)[2:]])

    def join(self, results: list[Extrema]) -> Extrema:
        """Take the widest."""
        return Extrema(
            float(np.min([r.minimum for r in results])),
            float(np.max([r.maximum for r in results])),
            all_whole=all(r.all_whole for r in results),
            any_negative=any(r.any_negative for r in results),
        )

    def result(self, total: NDArray[np.float64]) -> Extrema:
        low, high, fractions, negative, seen = total
        if seen < self._size:
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        return Extrema(float(low), float(high), all_whole=fractions == 0, any_negative=negative > 0)


@implements(ExtremaReduction)
class ArrayExtrema(ArrayImplementation[None, "NDArray[np.float64]"]):
    """Array implementation of :class:`ExtremaReduction`."""

    takes_fill_values = False

    def begin(self, host: NDArray[np.float64]) -> None:
        self.state = self.xp.asarray(host)

    def update(self, block: ArrayBlock) -> None:
        xp, x = self.xp, block.values
        if not x.size:
            return
        counts = [xp.count_nonzero(x != xp.floor(x)), xp.count_nonzero(x < 0), xp.asarray(x.size)]
        state, ends = self.state, (xp.minimum(self.state[0], x.min()), xp.maximum(self.state[1], x.max()))
        # what is not a number stays, whatever the device makes of it
        missing = xp.isnan(x).any() | xp.isnan(state[0])
        seen = [before + n for before, n in zip(state[2:], counts, strict=True)]
        self.state = xp.stack([*(xp.where(missing, np.nan, end) for end in ends), *seen])

    def finish(self) -> NDArray[np.float64]:
        return self.fetched(self.state)


class ColumnExtrema(Reduction):
    """Smallest and largest value of each column, `(2, n_columns)`, zeros that are not stored included."""

    by_columns = True

    def prepare(self, matrix: OOMMatrix) -> None:
        self._n_rows, self._n_columns = matrix.shape

    def partial(self) -> NDArray[np.float64]:
        # minimum, maximum, values seen
        return np.array([[np.inf], [-np.inf], [0.0]]) * np.ones(self._n_columns)

    def partial_nbytes(self) -> int:
        return 24 * self._n_columns

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        if not block.fill_values.size:
            np.minimum.at(partial[0], block.indices, block.values)
            np.maximum.at(partial[1], block.indices, block.values)
            partial[2] += np.bincount(block.indices, minlength=self._n_columns)
            return
        for _, dense in block.dense_rows():
            np.minimum(partial[0], dense.min(axis=0), out=partial[0])
            np.maximum(partial[1], dense.max(axis=0), out=partial[1])
        partial[2] += block.n_rows

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = np.minimum(total[0], partial[0]), np.maximum(total[1], partial[1])
        return np.stack([low, high, total[2] + partial[2]])

    def join(self, results: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Put the columns side by side."""
        return np.concatenate(results, axis=1)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high, seen = total
        unseen = seen < self._n_rows
        return np.stack([np.where(unseen, np.minimum(low, 0), low), np.where(unseen, np.maximum(high, 0), high)])


@implements(ColumnExtrema)
class ArrayColumnExtrema(ArrayImplementation[None, "NDArray[np.float64]"]):
    """Array implementation of :class:`ColumnExtrema`."""

    takes_fill_values = False
    copies = 3

    def begin(self, host: NDArray[np.float64]) -> None:
        low, high, seen = self.xp.asarray(host)
        # rows of their own: low, high, how many values were seen, and how many of these were no numbers
        self.state = [self.xp.array(row) for row in (low, high, seen, seen)]

    def update(self, block: ArrayBlock) -> None:
        xp, x, columns = self.xp, block.values, block.indices
        missing, low, high = xp.isnan(x).astype(np.float64), xp.copy(self.state[0]), xp.copy(self.state[1])
        xp.minimum.at(low, columns, x)
        xp.maximum.at(high, columns, x)
        ones = xp.ones_like(x)
        self.state[0], self.state[1] = low, high
        self.scatter(self.state[2], columns, ones)
        self.scatter(self.state[3], columns, missing)

    def finish(self) -> NDArray[np.float64]:
        low, high, seen, missing = [self.device.fetch(array) for array in self.state]
        self.device.mark()()
        return np.stack([np.where(missing > 0, np.nan, low), np.where(missing > 0, np.nan, high), seen])
