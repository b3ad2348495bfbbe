"""What is computed of each row apart: sums over sets of columns and over its largest values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..kernels import masked_row_sums, top_row_sums
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["HighlyExpressed", "SetSums", "TopSums"]


class _Rowwise(Reduction):
    """Results are written by row; nothing is merged."""

    def partial(self) -> None:
        return None

    def merge(self, total: None, partial: None) -> None:
        return None


class SetSums(_Rowwise):
    """Sum of each row over sets of columns, `(n_rows, n_sets)`.

    Parameters
    ----------
    member
        `(n_columns, n_sets)` booleans.
    """

    def __init__(self, member: NDArray[np.bool_]) -> None:
        self._member = np.ascontiguousarray(member)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros((matrix.shape[0], self._member.shape[1]))

    def update(self, partial: None, block: Block) -> None:
        out = np.empty((block.n_rows, self._member.shape[1]))
        masked_row_sums(block.indptr, block.indices, block.sparse_part(), self._member, out)
        if block.background.size:
            out += (block.background @ self._member)[block.classes()]
        self._out[block.positions] = out

    def result(self, total: None) -> NDArray[np.float64]:
        return self._out


class TopSums(_Rowwise):
    """Sum of the largest values of each row, `(n_rows, len(ns))`.

    Parameters
    ----------
    ns
        Increasing numbers of values to sum, none above the number of columns.
    """

    def __init__(self, ns: NDArray[np.integer]) -> None:
        self._ns = np.asarray(ns, dtype=np.int64)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros((matrix.shape[0], self._ns.size))

    def update(self, partial: None, block: Block) -> None:
        indptr, values = block.indptr, block.values
        if block.background.size:
            values = block.toarray().ravel()
            indptr = np.arange(block.n_rows + 1, dtype=np.int64) * block.n_columns
        out = np.empty((block.n_rows, self._ns.size))
        top_row_sums(indptr, values, block.n_columns, self._ns, out)
        self._out[block.positions] = out

    def result(self, total: None) -> NDArray[np.float64]:
        return self._out


class HighlyExpressed(Reduction):
    """Columns that hold more than a fraction of the total of some row, `(n_columns,)` booleans.

    Parameters
    ----------
    max_fraction
        The fraction.
    """

    def __init__(self, max_fraction: float) -> None:
        self._max_fraction = max_fraction

    def prepare(self, matrix: OOMMatrix) -> None:
        self._n_columns = matrix.shape[1]
        self._dtype = matrix.dtype

    def partial(self) -> NDArray[np.bool_]:
        return np.zeros(self._n_columns, dtype=bool)

    def update(self, partial: NDArray[np.bool_], block: Block) -> None:
        values: NDArray = block.values
        rows: NDArray = block.row_of_entry()
        indices: NDArray = block.indices
        if block.background.size:
            dense = block.toarray()
            rows, indices = np.nonzero(dense)
            values = dense[rows, indices]
        # the total in the dtype of the data, as scanpy keeps it
        totals = np.bincount(rows, weights=values, minlength=block.n_rows).astype(self._dtype)
        partial[indices[values > self._max_fraction * totals.astype(np.float64)[rows]]] = True

    def merge(self, total: NDArray[np.bool_], partial: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return total | partial

    def result(self, total: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return total
