"""Means of columns that round as scanpy's do: one value after the other, in the precision that scanpy has there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import SummedImplementation, implements
from ..engine.reduction import Reduction
from .rowmap import as_in_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

__all__ = ["ColumnMeans", "ColumnMeansSpec"]

_Sums = tuple["NDArray[np.floating]", "NDArray[np.int64]"]


@dataclass(frozen=True, slots=True)
class ColumnMeansSpec:
    """Parameters of :class:`ColumnMeans`.

    Parameters
    ----------
    dtype
        In which values are added up.
    """

    dtype: np.dtype


class ColumnMeans(Reduction):
    """Mean of each column, `(n_columns,)`, values that are not numbers left out.

    Parameters
    ----------
    dtype
        In which values are added up.
    """

    in_order = True
    by_columns = True
    spec: ColumnMeansSpec

    def __init__(self, dtype: np.dtype | type = np.float64) -> None:
        self.spec = ColumnMeansSpec(np.dtype(dtype))

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix

    def partial(self) -> _Sums:
        n_columns = self._matrix.shape[1]
        return np.zeros(n_columns, dtype=self.spec.dtype), np.zeros(n_columns, dtype=np.int64)

    def partial_nbytes(self) -> int:
        return 16 * self._matrix.shape[1]

    def update(self, partial: _Sums, block: Block) -> None:
        sums, n_missing = partial
        for _, rows in as_in_memory(block, self._matrix):
            if isinstance(rows, np.ndarray):
                missing = np.isnan(rows)
                n_missing += np.count_nonzero(missing, axis=0)
                for row in np.where(missing, 0, rows).astype(self.spec.dtype, copy=False):
                    sums += row
                continue
            values, indices = rows.data.astype(self.spec.dtype, copy=False), rows.indices
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

    def join(self, results: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Concatenate the columns."""
        return np.concatenate(results)


@implements(ColumnMeans)
class ArrayColumnMeans(SummedImplementation[ColumnMeansSpec, _Sums]):
    """Array implementation of :class:`ColumnMeans`, where it adds up in double precision.

    In single precision the result hangs on the order of the rows, which a GPU does not keep.
    """

    takes_fill_values = False

    @classmethod
    def covers(cls, spec: ColumnMeansSpec) -> bool:
        return bool(spec.dtype == np.float64)

    def sums_shape(self) -> tuple[int, ...]:
        return 2, self.matrix_shape[1]

    def update(self, block: ArrayBlock) -> None:
        xp, x = self.xp, block.values
        missing = xp.isnan(x)
        values, flags = xp.where(missing, 0.0, x), missing.astype(np.float64)
        self.scatter(self.partial[0], block.indices, values)
        self.scatter(self.partial[1], block.indices, flags)

    def finish(self) -> _Sums:
        sums, missing = self.summed()
        return sums, missing.astype(np.int64)
