"""Results of a scanpy function by row, a few rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..memory.ledger import ACCOUNTANT
from .by_row import ByRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from numpy.typing import DTypeLike, NDArray

    from ..engine.block import Block
    from ..matrix import OOMMatrix

    Rows: TypeAlias = sparse.csr_matrix | np.ndarray

__all__ = ["MapRows", "as_in_memory"]


def as_in_memory(block: Block, matrix: OOMMatrix) -> Iterator[tuple[slice | NDArray[np.intp], Rows]]:
    """Yield the rows of a block of `matrix` as scanpy would hold them in memory, with their positions in it.

    As they are stored, or a few at a time as arrays where scanpy would have an array.
    """
    if not matrix.is_dense and not block.fill_values.size:
        shape = (block.n_rows, block.n_columns)
        values = block.values.astype(matrix.dtype)
        yield block.positions, sparse.csr_matrix((values, block.indices, block.indptr), shape=shape)
        return
    positions = block.positions
    first = positions.start if isinstance(positions, slice) else 0
    for start, rows in block.dense_rows():
        stop = start + rows.shape[0]
        where = slice(first + start, first + stop)
        yield where if isinstance(positions, slice) else positions[start:stop], rows.astype(matrix.dtype)


class MapRows(ByRow):
    """Results of a function for each row, `(n_rows, *shape)`.

    It is called on the user's thread: scanpy's functions may run threads of their own, which others may not start.

    Parameters
    ----------
    function
        Takes rows as scanpy would hold them in memory, and returns as many results.
    shape
        Of the result of one row.
    dtype
        Dtype of the result.
    """

    in_order = True
    only_here = "a function that is called in this process"

    def __init__(
        self, function: Callable[[Rows], np.ndarray], shape: tuple[int, ...] = (), dtype: DTypeLike = np.float64
    ) -> None:
        self._function = function
        self._shape = shape
        self._dtype = dtype

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        self.out = np.zeros((matrix.shape[0], *self._shape), dtype=self._dtype)

    def update(self, partial: np.ndarray, block: Block) -> None:
        for where, rows in as_in_memory(block, self._matrix):
            partial[where] = self._function(rows)

    def result(self, total: np.ndarray) -> np.ndarray:
        ACCOUNTANT.hold(total, "results", total.nbytes)
        return total
