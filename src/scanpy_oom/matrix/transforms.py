"""The steps of a lazy chain: what each does to a value, to the dtype, and to its own parameters under selection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from .program import Instruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .selection import Axis

__all__ = [
    "Cast",
    "Elementwise",
    "MultiplyColumns",
    "MultiplyRows",
    "NormalizeTotal",
    "RowTotals",
    "Scale",
    "Transform",
]


def _take(vector: Any, positions: Axis) -> Any:
    """Return a parameter, where there is one, at these positions."""
    return vector if vector is None or positions is None else vector[positions]


@dataclass(frozen=True, eq=False)
class Transform(ABC):
    """One elementwise step, with row, column and global parameters.

    A subset of the matrix takes the same subset of the parameters, and moves on down to the source.
    """

    by_row: ClassVar[bool] = False
    """Whether a parameter varies continuously by row (so that zeros must stay zeros)."""

    @abstractmethod
    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Dtype of the result for values of `dtype`."""

    @abstractmethod
    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        """Return the step as ufuncs, for values of `dtype`."""

    def take(self, rows: Axis, columns: Axis) -> Transform:
        """Return the step for a subset of rows and columns."""
        return self

    @property
    def kept_statistics(self) -> frozenset[str]:
        """Names of the statistics that the step leaves as they are."""
        return frozenset()

    def makes_dense(self, *, was_dense: bool) -> bool:
        """Whether scanpy, in memory, holds the result as a dense array."""
        return was_dense


def _is_single(dtype: np.dtype) -> bool:
    return dtype == np.float32


_KEEP_SIGN = frozenset({"row_nnz", "row_npos", "col_nnz", "col_npos"})


@dataclass(frozen=True, eq=False)
class Elementwise(Transform):
    """A NumPy ufunc of the value and at most one scalar.

    Parameters
    ----------
    ufunc
        Name of the ufunc in NumPy.
    operand
        Second operand of a binary one. As in NumPy, its type counts: one of NumPy's floats makes float32 values float64
        on the way, one of Python's does not.
    dtype
        Dtype of the result, where it is not what NumPy gives.
    """

    ufunc: str
    operand: float | np.number | None = None
    dtype: np.dtype | None = None

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        if self.dtype is not None:
            return self.dtype
        function = getattr(np, self.ufunc)
        probe = np.ones(1, dtype=dtype)
        return (function(probe) if self.operand is None else function(probe, self.operand)).dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        single = _is_single(self.result_dtype(dtype))
        return [Instruction(getattr(np, self.ufunc), scalar=self.operand, single=single)]

    @property
    def kept_statistics(self) -> frozenset[str]:
        return _KEEP_SIGN if self.ufunc in {"log1p", "expm1", "sqrt"} else frozenset()

    def __str__(self) -> str:
        return self.ufunc if self.operand is None else f"{self.ufunc} {self.operand:g}"


@dataclass(frozen=True, eq=False)
class Cast(Transform):
    """A change of dtype."""

    dtype: np.dtype

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        if self.dtype.kind == "b":
            return [Instruction(np.not_equal, scalar=0.0)]
        if self.dtype.kind in "iu" and dtype.kind == "f":
            return [Instruction(np.trunc)]
        return [Instruction(np.positive, single=_is_single(self.dtype))]

    @property
    def kept_statistics(self) -> frozenset[str]:
        return _KEEP_SIGN if self.dtype.kind == "f" else frozenset()

    def __str__(self) -> str:
        return f"as {self.dtype}"


@dataclass(eq=False)
class RowTotals:
    """Sums of the stored values of a source's rows, over some columns, found by whichever pass comes first.

    Parameters
    ----------
    values
        `(n_source_rows,)` float64, NaN where the sum is not known yet.
    counted
        `(n_source_columns,)` booleans; empty for all columns.
    zero_rows_reported
        Whether the warning about rows that sum to zero was given.
    """

    values: NDArray[np.float64]
    counted: NDArray[np.bool_]
    zero_rows_reported: bool = False

    def counts(self, columns: NDArray[np.bool_]) -> bool:
        """Whether the sums are over these columns, `(n_source_columns,)` booleans."""
        return bool(columns.all()) if not self.counted.size else np.array_equal(self.counted, columns)


@dataclass(frozen=True, eq=False)
class NormalizeTotal(Transform):
    """Division of each row by its total over the columns of the moment, relative to `target_sum`.

    Parameters
    ----------
    totals
        Row totals, shared by all matrices that descend from this step.
    target_sum
        What rows sum to afterwards.
    """

    totals: RowTotals
    target_sum: float

    by_row: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return dtype

    def factors(self, source_rows: NDArray[np.intp] | slice, dtype: np.dtype) -> NDArray[np.floating]:
        """Totals relative to `target_sum`, `(n,)` of `dtype`, as scanpy's `norm_factor`."""
        # in the dtype of the data throughout, as scanpy divides
        return self.totals.values[source_rows].astype(dtype) / dtype.type(self.target_sum)

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        def divisor(source_rows: NDArray[np.intp]) -> NDArray[np.floating]:
            factors = self.factors(source_rows, dtype)
            return factors + (factors == 0)

        return [Instruction(np.divide, row=divisor, single=_is_single(dtype))]

    @property
    def kept_statistics(self) -> frozenset[str]:
        return frozenset({"row_nnz", "col_nnz"})

    def __str__(self) -> str:
        return f"normalize_total {self.target_sum:g}"


@dataclass(frozen=True, eq=False)
class MultiplyRows(Transform):
    """Multiplication of each row by a number, or division where `divide` is set.

    Parameters
    ----------
    vector
        `(n_rows,)`.
    dtype
        Dtype of the result.
    """

    vector: NDArray[np.floating]
    dtype: np.dtype
    divide: bool = False

    by_row: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        ufunc = np.divide if self.divide else np.multiply
        return [Instruction(ufunc, row=self.vector, single=_is_single(self.dtype))]

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=_take(self.vector, rows))

    def __str__(self) -> str:
        return f"{'divide' if self.divide else 'multiply'} rows"


@dataclass(frozen=True, eq=False)
class MultiplyColumns(Transform):
    """Multiplication of each column by a number, or division where `divide` is set.

    Parameters
    ----------
    vector
        `(n_columns,)`.
    dtype
        Dtype of the result.
    """

    vector: NDArray[np.floating]
    dtype: np.dtype
    divide: bool = False

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        ufunc = np.divide if self.divide else np.multiply
        return [Instruction(ufunc, column=self.vector, single=_is_single(self.dtype))]

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=_take(self.vector, columns))

    def __str__(self) -> str:
        return f"{'divide' if self.divide else 'multiply'} columns"


@dataclass(frozen=True, eq=False)
class Scale(Transform):
    """Centring and scaling of columns, then clipping: :func:`scanpy.pp.scale`.

    Parameters
    ----------
    mean
        `(n_columns,)`, or None not to centre.
    std
        `(n_columns,)`, without zeros.
    max_value
        Bound of the absolute values after centring, or of the values where nothing is centred; None for no bound.
    mask
        `(n_rows,)` booleans: rows that are scaled; None for all.
    dtype
        Dtype of the result.
    dense
        Whether scanpy holds the result as a dense array.
    """

    mean: NDArray[np.float64] | None
    std: NDArray[np.float64]
    max_value: float | None
    mask: NDArray[np.bool_] | None
    dtype: np.dtype
    dense: bool

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        # in memory, centring a sparse matrix computes in double precision; storing the result rounds it, once
        single = _is_single(self.dtype) and (self.dense or self.mean is None)
        steps = []
        if self.mean is not None:
            steps.append(Instruction(np.subtract, column=self.mean, only_rows=self.mask, single=single))
        steps.append(Instruction(np.divide, column=self.std, only_rows=self.mask, single=single))
        if self.max_value is not None:
            steps.append(Instruction(np.minimum, scalar=self.max_value, only_rows=self.mask, single=single))
            if self.mean is not None:
                steps.append(Instruction(np.maximum, scalar=-self.max_value, only_rows=self.mask, single=single))
        steps[-1] = replace(steps[-1], single=_is_single(self.dtype))
        return steps

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, mean=_take(self.mean, columns), std=_take(self.std, columns), mask=_take(self.mask, rows))

    def makes_dense(self, *, was_dense: bool) -> bool:
        return self.dense

    def __str__(self) -> str:
        return "scale" + ("" if self.max_value is None else f" (at most {self.max_value:g})")
