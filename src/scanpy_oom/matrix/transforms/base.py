"""A transform: what it does to a value, to the dtype, and to its own parameters when rows or columns are selected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..selection import Axis
    from .instruction import Instruction

__all__ = ["Transform", "given_dtype", "is_single", "taken"]


T = TypeVar("T", bound=np.generic)


def taken(vector: NDArray[T], positions: Axis) -> NDArray[T]:
    """Return a parameter at these positions."""
    return vector if positions is None else vector[positions]


@dataclass(frozen=True, eq=False)
class Transform(ABC):
    """One elementwise step, with row, column and global parameters.

    A subset of the matrix takes the same subset of the parameters, and moves on down to the source.
    """

    by_row: ClassVar[bool] = False
    """True if a parameter varies continuously by row (so that zeros must stay zeros, but for a few rows)."""

    fills: ClassVar[bool] = False
    """True if the step gives zeros values that vary by row and column, so that blocks are dense from there on."""

    leaves_csr: ClassVar[bool] = False
    """True if scanpy, in memory, holds the result by rows even where it was given a matrix by columns."""

    @abstractmethod
    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Dtype of the result for values of `dtype`."""

    @abstractmethod
    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        """Return what the step does to values of `dtype`, as data."""

    def take(self, rows: Axis, columns: Axis) -> Transform:
        """Return the step for a subset of rows and columns."""
        return self

    @property
    def kept_statistics(self) -> frozenset[str]:
        """Names of the statistics that the step leaves as they are."""
        return frozenset()

    @property
    def drops_zeros(self) -> bool:
        """True if a sparse matrix does not store what becomes zero, as SciPy's comparisons."""
        return False

    @property
    def is_uniform(self) -> bool:
        """True if all places of the matrix are treated alike, so that it may be transposed before or after."""
        return False

    def makes_dense(self, *, was_dense: bool) -> bool:
        """Return whether scanpy, in memory, holds the result as a dense array."""
        return was_dense

    def may_change_zeros(self) -> bool:
        """Return whether a step that varies by row may make something else of an array's zeros in some rows."""
        return False


def is_single(dtype: np.dtype) -> bool:
    """Return whether values are single precision."""
    return dtype == np.float32


def given_dtype(
    dtype: np.dtype, ufunc: str, operand: object, result: np.dtype, *, reflected: bool = False
) -> tuple[np.dtype, ...]:
    """Return the dtype in which a ufunc is given values of `dtype` to get `result`, where that needs to be said.

    Integers then overflow, and half precision rounds, as NumPy has it.
    """
    if dtype in (np.float32, np.float64):
        return ()
    operands = [np.ones(1, dtype=dtype), *([] if operand is None else [operand])]
    found = getattr(np, ufunc)(*(reversed(operands) if reflected else operands)).dtype
    return (dtype,) if found == result else ()
