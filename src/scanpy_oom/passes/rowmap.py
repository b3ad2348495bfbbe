"""What a function of scanpy's makes of rows, a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..memory import ACCOUNTANT
from .reductions import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import DTypeLike, NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["MapRows", "as_in_memory"]


def as_in_memory(block: Block, matrix: OOMMatrix) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of a block of `matrix` as scanpy would hold them in memory, with their positions in it.

    As they are stored, or a few at a time as arrays where scanpy would have an array.
    """
    if not matrix.is_dense and not block.background.size:
        shape = (block.n_rows, block.n_columns)
        values = block.values.astype(matrix.dtype)
        yield block.positions, sparse.csr_matrix((values, block.indices, block.indptr), shape=shape)
        return
    positions = block.positions
    for start, rows in block.dense_rows():
        stop = start + rows.shape[0]
        where: Any = slice(positions.start + start, positions.start + stop) if isinstance(positions, slice) else None
        yield positions[start:stop] if where is None else where, rows.astype(matrix.dtype)  # type: ignore[index]


class MapRows(Reduction):
    """What a function returns for each row, `(n_rows, *shape)`.

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

    def __init__(
        self, function: Callable[[Any], NDArray], shape: tuple[int, ...] = (), dtype: DTypeLike = np.float64
    ) -> None:
        self._function = function
        self._shape = shape
        self._dtype = dtype

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        self._out = np.zeros((matrix.shape[0], *self._shape), dtype=self._dtype)

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        for where, rows in as_in_memory(block, self._matrix):
            self._out[where] = self._function(rows)

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> NDArray:
        ACCOUNTANT.hold(self._out, "results", self._out.nbytes)
        return self._out
