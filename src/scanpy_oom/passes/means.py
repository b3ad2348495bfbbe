"""Means of columns that round as scanpy's do: one value after the other, in the precision that scanpy has there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .reductions import Reduction
from .rowmap import as_in_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["ColumnMeans"]

_Sums = tuple["NDArray[np.floating]", "NDArray[np.int64]"]


class ColumnMeans(Reduction):
    """Mean of each column, `(n_columns,)`, values that are not numbers left out.

    Parameters
    ----------
    dtype
        In which values are added up.
    """

    in_order = True
    by_columns = True

    def __init__(self, dtype: np.dtype | type = np.float64) -> None:
        self._dtype = np.dtype(dtype)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix

    def partial(self) -> _Sums:
        n_columns = self._matrix.shape[1]
        return np.zeros(n_columns, dtype=self._dtype), np.zeros(n_columns, dtype=np.int64)

    def partial_nbytes(self) -> int:
        return 16 * self._matrix.shape[1]

    def update(self, partial: _Sums, block: Block) -> None:
        sums, n_missing = partial
        for _, rows in as_in_memory(block, self._matrix):
            if isinstance(rows, np.ndarray):
                missing = np.isnan(rows)
                n_missing += np.count_nonzero(missing, axis=0)
                for row in np.where(missing, 0, rows).astype(self._dtype, copy=False):
                    sums += row
                continue
            values, indices = rows.data.astype(self._dtype, copy=False), rows.indices
            missing = np.isnan(values)
            if missing.any():
                np.add.at(n_missing, indices[missing], 1)
                values, indices = values[~missing], indices[~missing]
            np.add.at(sums, indices, values)

    def merge(self, total: _Sums, partial: _Sums) -> _Sums:
        msg = "Rows come in order: there is one partial result."
        raise AssertionError(msg)

    def result(self, total: _Sums) -> NDArray[np.float64]:
        sums, n_missing = total
        with np.errstate(invalid="ignore", divide="ignore"):  # a column without numbers has no mean
            return sums.astype(np.float64) / (self._matrix.shape[0] - n_missing)

    def join(self, results: list[Any]) -> NDArray[np.float64]:
        """Concatenate the columns."""
        return np.concatenate(results)
