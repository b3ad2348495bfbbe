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

__all__ = ["HighlyExpressed", "RowDeviations", "RowExtrema", "SetSums", "TopSums"]


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


def _by_row(ufunc: np.ufunc, block: Block, values: NDArray[np.float64], empty: float) -> NDArray[np.float64]:
    """Reduce what is stored in each row; `empty` where nothing is."""
    out = np.full(block.n_rows, empty)
    filled = np.diff(block.indptr) > 0
    if filled.any():
        out[filled] = ufunc.reduceat(values, block.indptr[:-1][filled])
    return out


class RowExtrema(_Rowwise):
    """Smallest and largest value of each row, `(2, n_rows)`, zeros that are not stored included."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros((2, matrix.shape[0]))

    def update(self, partial: None, block: Block) -> None:
        if block.background.size:
            parts = [(dense.min(axis=1), dense.max(axis=1)) for _, dense in block.dense_rows()]
            low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
        else:
            low, high = (_by_row(f, block, block.values, 0.0) for f in (np.minimum, np.maximum))
            partly = np.diff(block.indptr) < block.n_columns
            low, high = np.where(partly, np.minimum(low, 0), low), np.where(partly, np.maximum(high, 0), high)
        self._out[0, block.positions], self._out[1, block.positions] = low, high

    def result(self, total: None) -> NDArray[np.float64]:
        return self._out


class RowDeviations(_Rowwise):
    """Sum of the squared differences of each row's values from their mean, `(n_rows,)`."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros(matrix.shape[0])

    def update(self, partial: None, block: Block) -> None:
        if block.background.size:
            squares = [((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for _, x in block.dense_rows()]
            self._out[block.positions] = np.concatenate(squares)
            return
        lengths = np.diff(block.indptr)
        mean = _by_row(np.add, block, block.values, 0.0) / block.n_columns
        stored = (block.values - np.repeat(mean, lengths)) ** 2
        unstored = np.where(lengths < block.n_columns, (block.n_columns - lengths) * mean**2, 0)
        self._out[block.positions] = _by_row(np.add, block, stored, 0.0) + unstored

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
