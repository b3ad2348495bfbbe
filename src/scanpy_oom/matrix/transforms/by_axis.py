"""Transforms by a number of the row or of the column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from .base import Transform, given_dtype, is_single, taken
from .instruction import Call, Instruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..selection import Axis

__all__ = ["ByColumn", "ByRow"]


@dataclass(frozen=True, eq=False)
class _WithVector(Transform):
    """A ufunc of the value and of a number of its row or column.

    Parameters
    ----------
    ufunc
        Name of the ufunc in NumPy.
    vector
        One number a row, or one a column.
    dtype
        Dtype of the result.
    reflected
        Whether that number comes first.
    keeps_zeros
        Whether zeros that are not stored stay zeros, as those of a sparse matrix.
    """

    ufunc: str
    vector: NDArray[np.number]
    dtype: np.dtype
    reflected: bool = False
    keeps_zeros: bool = False

    axis_name: ClassVar[str]

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        given = given_dtype(dtype, self.ufunc, np.ones(1, self.vector.dtype), self.dtype)
        step = Call(
            self.ufunc,
            given=given,
            reflected=self.reflected,
            single=is_single(self.dtype),
            keeps_zeros=self.keeps_zeros,
        )
        return [replace(step, row=self.vector) if self.by_row else replace(step, column=self.vector)]

    def __str__(self) -> str:
        return f"{self.ufunc} {self.axis_name}"


@dataclass(frozen=True, eq=False)
class ByRow(_WithVector):
    """A ufunc of the value and of a number of its row, which leaves zeros as they are; `vector` is `(n_rows,)`."""

    by_row: ClassVar[bool] = True
    axis_name: ClassVar[str] = "rows"

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=taken(self.vector, rows))

    def may_change_zeros(self) -> bool:
        operands = (self.vector, 0) if self.reflected else (0, self.vector)
        with np.errstate(all="ignore"):
            return bool(np.any(getattr(np, self.ufunc)(*operands) != 0))


@dataclass(frozen=True, eq=False)
class ByColumn(_WithVector):
    """A ufunc of the value and of a number of its column; `vector` is `(n_columns,)`."""

    axis_name: ClassVar[str] = "columns"

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=taken(self.vector, columns))
