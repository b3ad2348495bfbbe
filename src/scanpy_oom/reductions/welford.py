"""Mean and variance by group of rows, one value after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import ArrayImplementation, add_up, implements
from ..engine.reduction import Reduction
from ..kernels import group_welford

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

__all__ = ["GroupMeanVar", "GroupWelford", "WelfordSpec"]


_Running = tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.float64]"]
"""State of :func:`~scanpy_oom.kernels.group_welford`: counts, means, sums of squared deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupMeanVar:
    """Means and variances of the columns within groups of rows.

    Parameters
    ----------
    n
        `(n_groups,)` rows of each group.
    mean, var, nnz
        `(n_groups, n_columns)`: mean, variance (divided by `n`), number of non-zeros; zeros for an empty group.
    """

    n: NDArray[np.int64]
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    nnz: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WelfordSpec:
    """Parameters of :class:`GroupWelford`.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    n_groups
        Number of groups.
    is_dense
        Whether the matrix would be an array in memory, whose zeros are values like others.
    """

    codes: NDArray[np.int64]
    n_groups: int
    is_dense: bool = False


class GroupWelford(Reduction):
    """Welford's running mean and variance within groups, in the order of the rows, as :func:`scanpy.get.aggregate`.

    The order decides the last bits, and these decide the order of tied genes.
    :class:`~scanpy_oom.reductions.GroupMoments` is faster.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    n_groups
        Number of groups.
    """

    in_order = True
    spec: WelfordSpec

    def __init__(self, codes: NDArray[np.integer], n_groups: int) -> None:
        self.spec = WelfordSpec(np.asarray(codes, dtype=np.int64), n_groups)

    def prepare(self, matrix: OOMMatrix) -> None:
        self.spec = replace(self.spec, is_dense=matrix.is_dense)
        self._shape = (self.spec.n_groups, matrix.shape[1])

    def partial(self) -> _Running:
        return np.zeros((2, *self._shape), dtype=np.int64), np.zeros(self._shape), np.zeros(self._shape)

    def partial_nbytes(self) -> int:
        return 32 * self._shape[0] * self._shape[1]

    def update(self, partial: _Running, block: Block) -> None:
        codes = self.spec.codes[block.positions]
        for rows, entries in block.entries(full=self.spec.is_dense or block.fill_values.size > 0):
            group_welford(*entries, codes[rows], *partial)

    def merge(self, total: _Running, partial: _Running) -> _Running:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: _Running) -> GroupMeanVar:
        (n_stored, nnz), mean, m2 = total
        codes = self.spec.codes
        n = np.bincount(codes[codes >= 0], minlength=self.spec.n_groups)
        rows = np.maximum(n, 1)[:, None]
        zeros = n[:, None] - n_stored
        # the zeros that are not stored join as one group more (Chan et al., 1979)
        joined = (zeros > 0) & (n_stored > 0)
        m2 = np.where(joined, m2 + mean * mean * n_stored * zeros / rows, m2)
        mean = np.where(joined, mean * n_stored / rows, mean)
        return GroupMeanVar(n, mean, m2 / rows, nnz)


@implements(GroupWelford)
class ArrayGroupWelford(ArrayImplementation[WelfordSpec, _Running]):
    """Array implementation of :class:`GroupWelford`: blocks are joined as groups of values (Chan et al., 1979)."""

    copies = 0

    @property
    def _shape(self) -> tuple[int, int]:
        return self.spec.n_groups, self.matrix_shape[1]

    def wants_all_values(self, block: ArrayBlock) -> bool:
        return block.fill_values is not None or self.spec.is_dense

    def begin(self, host: _Running) -> None:
        n = math.prod(self._shape) + 1  # a last place for what is in no group
        # values so far, how many of them are not zero, their mean, and the sum of squared deviations from it
        self.state = self.xp.zeros((4, n))

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        groups, x = block.of_rows(self.spec.codes)[block.rows], block.values
        size = self.state.shape[1]
        places = xp.where(groups >= 0, groups * block.n_columns + block.indices, size - 1)
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

    def finish(self) -> _Running:
        n, nonzero, mean, m2 = (values[:-1].reshape(self._shape) for values in self.fetched(self.state))
        return np.stack([n, nonzero]).astype(np.int64), mean.copy(), m2.copy()

    def workspace_nbytes(self) -> int:
        return 14 * 8 * math.prod(self._shape)
