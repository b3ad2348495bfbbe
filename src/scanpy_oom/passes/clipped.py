"""Sums within groups of rows of values that are cut at a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..kernels import group_clipped_sums
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["GroupClippedSums"]


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

    def __init__(self, codes: NDArray[np.integer], highest: NDArray[np.float64]) -> None:
        self._codes = np.asarray(codes, dtype=np.int64)
        self._highest = np.ascontiguousarray(highest, dtype=np.float64)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._dense = matrix.is_dense

    def partial(self) -> NDArray[np.float64]:
        return np.zeros((*self._highest.shape, 2))

    def partial_nbytes(self) -> int:
        return 16 * self._highest.size

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        codes = self._codes[block.positions]
        if self._dense or block.background.size:  # then zeros are cut, too
            dense = block.toarray()
            indptr = np.arange(block.n_rows + 1, dtype=np.int64) * block.n_columns
            columns = np.tile(np.arange(block.n_columns, dtype=np.int32), block.n_rows)
            group_clipped_sums(indptr, columns, dense.ravel(), codes, self._highest, partial)
        else:
            group_clipped_sums(block.indptr, block.indices, block.values, codes, self._highest, partial)

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.moveaxis(total, 2, 0))
