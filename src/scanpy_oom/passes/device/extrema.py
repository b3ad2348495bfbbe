"""Smallest and largest values, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..extrema import ColumnExtrema, ExtremaReduction
from .form import ArrayForm, array_form

if TYPE_CHECKING:
    from .block import ArrayBlock

__all__: list[str] = []


@array_form(ExtremaReduction)
class ArrayExtrema(ArrayForm):
    """See :class:`~scanpy_oom.passes.extrema.ExtremaReduction`."""

    takes_background = False

    def begin(self) -> None:
        self.state = self.xp.asarray(self.reduction.partial())

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

    def finish(self) -> Any:
        found = self.device.fetch(self.state)
        self.device.mark()()
        return found


@array_form(ColumnExtrema)
class ArrayColumnExtrema(ArrayForm):
    """See :class:`~scanpy_oom.passes.ColumnExtrema`."""

    takes_background = False

    def begin(self) -> None:
        xp = self.xp
        low, high, seen = xp.asarray(self.reduction.partial())
        # rows of their own: low, high, how many values were seen, and how many of these were no numbers
        self.state = [xp.array(row) for row in (low, high, seen, seen)]

    def update(self, block: ArrayBlock) -> None:
        xp, x, columns = self.xp, block.values, block.indices
        missing, low, high = xp.isnan(x).astype(np.float64), xp.copy(self.state[0]), xp.copy(self.state[1])
        xp.minimum.at(low, columns, x)
        xp.maximum.at(high, columns, x)
        ones = xp.ones_like(x)
        self.state[0], self.state[1] = low, high
        self.scatter(self.state[2], columns, ones)
        self.scatter(self.state[3], columns, missing)

    def finish(self) -> Any:
        low, high, seen, missing = [self.device.fetch(array) for array in self.state]
        self.device.mark()()
        return np.stack([np.where(missing > 0, np.nan, low), np.where(missing > 0, np.nan, high), seen])

    def nbytes(self) -> int:
        return 3 * int(self.reduction.partial_nbytes())
