"""Mean and variance by group of rows, one value after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import group_welford
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["GroupMeanVar", "GroupWelford"]


_Running = tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.float64]"]
"""What :func:`~scanpy_oom.kernels.group_welford` carries on: counts, means, sums of squared deviations."""


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


class GroupWelford(Reduction):
    """Welford's running mean and variance within groups, in the order of the rows, as :func:`scanpy.get.aggregate`.

    The order decides the last bits, and these decide the order of tied genes. :class:`~scanpy_oom.passes.GroupMoments`
    is faster.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    n_groups
        Number of groups.
    """

    in_order = True

    def __init__(self, codes: NDArray[np.integer], n_groups: int) -> None:
        self._codes = np.asarray(codes, dtype=np.int64)
        self._n_groups = n_groups

    def prepare(self, matrix: OOMMatrix) -> None:
        self._shape = (self._n_groups, matrix.shape[1])
        self._dense = matrix.is_dense

    def partial(self) -> _Running:
        return np.zeros((2, *self._shape), dtype=np.int64), np.zeros(self._shape), np.zeros(self._shape)

    def partial_nbytes(self) -> int:
        return 32 * self._shape[0] * self._shape[1]

    def update(self, partial: _Running, block: Block) -> None:
        codes = self._codes[block.positions]
        if self._dense or block.background.size:
            dense = block.toarray()
            indptr = np.arange(block.n_rows + 1, dtype=np.int64) * block.n_columns
            columns = np.tile(np.arange(block.n_columns, dtype=np.int32), block.n_rows)
            group_welford(indptr, columns, dense.ravel(), codes, self._dense, *partial)
        else:
            group_welford(block.indptr, block.indices, block.values, codes, self._dense, *partial)

    def merge(self, total: _Running, partial: _Running) -> _Running:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: _Running) -> GroupMeanVar:
        (n_stored, nnz), mean, m2 = total
        n = np.bincount(self._codes[self._codes >= 0], minlength=self._n_groups)
        rows = np.maximum(n, 1)[:, None]
        zeros = n[:, None] - n_stored
        # the zeros that are not stored join as one group more (Chan et al., 1979)
        joined = (zeros > 0) & (n_stored > 0)
        m2 = np.where(joined, m2 + mean * mean * n_stored * zeros / rows, m2)
        mean = np.where(joined, mean * n_stored / rows, mean)
        return GroupMeanVar(n, mean, m2 / rows, nnz)
