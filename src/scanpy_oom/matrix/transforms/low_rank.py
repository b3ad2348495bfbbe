"""Steps with a matrix of low rank as operand: what is left by a regression, and corrections by batch.

Such a step leaves nothing sparse: a block is made dense where it applies, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from .base import Transform, is_single
from .instruction import Call, Index, Instruction, Numbers

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from ..selection import Axis

__all__ = ["Combine", "LowRank"]


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A matrix of which only factors are held.

    Parameters
    ----------
    rows
        `(n_rows, k)` float64 to be multiplied by `columns`, or `(n_rows,)` integers: which row of
        `columns` each row is.
    columns
        `(k, n_columns)` float64.
    """

    rows: NDArray[np.float64] | NDArray[np.integer]
    columns: NDArray[np.float64]

    def take(self, rows: Axis, columns: Axis) -> LowRank:
        """Return a subset of rows and columns."""
        of_columns = self.columns if columns is None else self.columns[:, columns]
        return LowRank(self.rows if rows is None else self.rows[rows], of_columns)

    def at(self, positions: slice | NDArray[np.intp]) -> NDArray[np.float64]:
        """Return some rows, `(n, n_columns)`."""
        rows = self.rows[positions]
        if rows.ndim == 1:
            return self.columns[rows]
        from ...kernels import low_rank  # with the compiler, which a file that is only opened does without

        out = np.empty((rows.shape[0], self.columns.shape[1]))
        low_rank(np.ascontiguousarray(rows), np.ascontiguousarray(self.columns), out)
        return out


@dataclass(frozen=True, eq=False)
class _WithLowRank(Call):
    """A ufunc of all values of a block and of a matrix of low rank, whose factors are the parameters."""

    def operand(self, xp: ModuleType, rows: Index, columns: Index) -> Any:
        factors, of_columns = self.parameters
        return of_columns[factors] if factors.ndim == 1 else factors @ of_columns

    def compiled(self, values: Numbers) -> NDArray[np.number | np.bool_]:
        return self.call(np, values, LowRank(*self.parameters).at(slice(None)))


@dataclass(frozen=True, eq=False)
class Combine(Transform):
    """A ufunc of the value and of a matrix of low rank.

    Parameters
    ----------
    ufunc
        Name of the ufunc in NumPy.
    operand
        The matrix, of the shape of the values.
    dtype
        Dtype of the result.
    label
        What the step is called.
    reflected
        Whether the operand comes first.
    """

    ufunc: str
    operand: LowRank
    dtype: np.dtype
    label: str
    reflected: bool = False

    fills: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        by_row, by_column, single = self.operand.rows, self.operand.columns, is_single(self.dtype)
        return [_WithLowRank(self.ufunc, row=by_row, column=by_column, reflected=self.reflected, single=single)]

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, operand=self.operand.take(rows, columns))

    def makes_dense(self, *, was_dense: bool) -> bool:
        return True

    def __str__(self) -> str:
        return self.label
