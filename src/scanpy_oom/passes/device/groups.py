"""Running means, clipped sums and plain means by group of rows, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..clipped import GroupClippedSums
from ..means import ColumnMeans
from ..welford import GroupWelford
from .form import ArrayForm, SummedForm, add_up, array_form

if TYPE_CHECKING:
    from ...matrix import OOMMatrix
    from .block import ArrayBlock

__all__: list[str] = []


@array_form(GroupClippedSums)
class ArrayGroupClippedSums(SummedForm):
    """See :class:`~scanpy_oom.passes.GroupClippedSums`."""

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return block.background is not None or bool(self.reduction._dense)  # of an array zeros are cut, too

    def begin(self) -> None:
        self.highest = self.xp.asarray(self.reduction._highest)
        # one place more for what is in no group
        self.shape = (2, int(self.highest.size) + 1)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        xp, n = self.xp, int(self.highest.size)
        groups = block.of_rows(self.reduction._codes)[block.rows]
        places = xp.where(groups >= 0, groups * block.n_columns + block.indices, n)
        x = xp.minimum(block.values, self.highest[groups, block.indices])
        squares = x * x
        self.scatter(self.partial[0], places, x)
        self.scatter(self.partial[1], places, squares)

    def finish(self) -> Any:
        return np.ascontiguousarray(np.moveaxis(self.summed()[:, :-1].reshape(2, *self.highest.shape), 0, 2))

    def nbytes(self) -> int:
        return 3 * int(self.reduction.partial_nbytes())


@array_form(GroupWelford)
class ArrayGroupWelford(ArrayForm):
    """See :class:`~scanpy_oom.passes.GroupWelford`. Blocks are joined as groups of values (Chan et al., 1979)."""

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return block.background is not None or bool(self.reduction._dense)

    def begin(self) -> None:
        xp, n = self.xp, int(np.prod(self.reduction._shape)) + 1  # a last place for what is in no group
        # values so far, how many of them are not zero, their mean, and the sum of squared deviations from it
        self.state = xp.zeros((4, n))

    def update(self, block: ArrayBlock) -> None:
        xp, dense = self.xp, self.reduction._dense
        groups, x = block.of_rows(self.reduction._codes)[block.rows], block.values
        counted = (groups >= 0) if dense else (groups >= 0) & (x != 0)
        size = self.state.shape[1]
        places = xp.where(counted, groups * block.n_columns + block.indices, size - 1)
        n = add_up(xp, places, xp.ones_like(x), size)
        nonzero = add_up(xp, places, (x != 0).astype(np.float64), size)
        mean = add_up(xp, places, x, size) / xp.maximum(n, 1)
        deviations = (x - mean[places]) ** 2
        m2 = add_up(xp, places, deviations, size)
        n_before, nonzero_before, mean_before, m2_before = self.state
        total = n_before + n
        delta = mean - mean_before
        share = n / xp.maximum(total, 1)
        # what is not finite stays so; where nothing is added nothing changes
        joined = xp.where(n > 0, mean_before + delta * share, mean_before)
        m2 = xp.where(n > 0, m2_before + m2 + delta * delta * n_before * share, m2_before)
        self.state = xp.stack([total, nonzero_before + nonzero, joined, m2])

    def finish(self) -> Any:
        found = self.device.fetch(self.state)
        self.device.mark()()
        n, nonzero, mean, m2 = (values[:-1].reshape(self.reduction._shape) for values in found)
        return np.stack([n, nonzero]).astype(np.int64), mean.copy(), m2.copy()

    def nbytes(self) -> int:
        return 14 * 8 * int(np.prod(self.reduction._shape))


@array_form(ColumnMeans)
class ArrayColumnMeans(SummedForm):
    """See :class:`~scanpy_oom.passes.ColumnMeans`, where it adds up in double precision.

    In single precision the result hangs on the order of the rows, which a GPU does not keep.
    """

    @classmethod
    def covers(cls, reduction: Any, matrix: OOMMatrix) -> bool:
        return bool(reduction._dtype == np.float64)

    takes_background = False

    def begin(self) -> None:
        self.shape = (2, self.matrix.shape[1])
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        xp, x = self.xp, block.values
        missing = xp.isnan(x)
        values, flags = xp.where(missing, 0.0, x), missing.astype(np.float64)
        self.scatter(self.partial[0], block.indices, values)
        self.scatter(self.partial[1], block.indices, flags)

    def finish(self) -> Any:
        sums, missing = self.summed()
        return sums, missing.astype(np.int64)

    def nbytes(self) -> int:
        return 2 * int(self.reduction.partial_nbytes())
