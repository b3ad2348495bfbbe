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
    "ByColumn",
    "ByRow",
    "Cast",
    "Elementwise",
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

    fills: ClassVar[bool] = False
    """Whether the step gives zeros values that vary by row and column, so that blocks are dense from there on."""

    by_rows: ClassVar[bool] = False
    """Whether scanpy, in memory, holds the result by rows even where it was given a matrix by columns."""

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

    @property
    def drops_zeros(self) -> bool:
        """Whether a sparse matrix does not store what becomes zero, as SciPy's comparisons."""
        return False

    @property
    def is_uniform(self) -> bool:
        """Whether all places of the matrix are treated alike, so that it may be transposed before or after."""
        return False

    def makes_dense(self, *, was_dense: bool) -> bool:
        """Whether scanpy, in memory, holds the result as a dense array."""
        return was_dense


def _is_single(dtype: np.dtype) -> bool:
    return dtype == np.float32


def _given(dtype: np.dtype, ufunc: np.ufunc, operand: Any, result: np.dtype) -> np.dtype | None:
    """Return in which dtype a ufunc is given values of `dtype` to get `result`, where that needs to be said.

    Integers then overflow, and half precision rounds, as NumPy has it.
    """
    if dtype in (np.float32, np.float64):
        return None
    probe = np.ones(1, dtype=dtype)
    found = (ufunc(probe) if operand is None else ufunc(probe, operand)).dtype
    return dtype if found == result else None


_KEEP_SIGN = frozenset({"row_nnz", "row_npos", "col_nnz", "col_npos"})


_COMPARISONS = frozenset({"greater", "less", "not_equal", "greater_equal", "less_equal", "equal"})


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
    reflected
        Whether the operand comes first.
    keeps_zeros
        Whether zeros stay zeros, as those that a sparse matrix does not store.
    """

    ufunc: str
    operand: float | np.number | None = None
    dtype: np.dtype | None = None
    reflected: bool = False
    keeps_zeros: bool = False

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        if self.dtype is not None:
            return self.dtype
        function = getattr(np, self.ufunc)
        probe = np.ones(1, dtype=dtype)
        if self.operand is None:
            return function(probe).dtype
        return (function(self.operand, probe) if self.reflected else function(probe, self.operand)).dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        ufunc, result = getattr(np, self.ufunc), self.result_dtype(dtype)
        step = Instruction(
            ufunc,
            scalar=self.operand,
            single=_is_single(result),
            given=_given(dtype, ufunc, self.operand, result),
            reflected=self.reflected,
            keeps_zeros=self.keeps_zeros,
        )
        return [step]

    @property
    def kept_statistics(self) -> frozenset[str]:
        return _KEEP_SIGN if self.ufunc in {"log1p", "expm1", "sqrt"} else frozenset()

    @property
    def drops_zeros(self) -> bool:
        return self.ufunc in _COMPARISONS

    @property
    def is_uniform(self) -> bool:
        return True

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
        if self.dtype.kind in "iu":  # by way of the widest, so that what is out of range wraps around
            return [Instruction(lambda x: x.astype(np.int64).astype(self.dtype))]
        if self.dtype == np.float16:
            return [Instruction(lambda x: x.astype(np.float16))]
        return [Instruction(np.positive, single=_is_single(self.dtype))]

    @property
    def kept_statistics(self) -> frozenset[str]:
        # what half precision does not hold becomes zero
        return _KEEP_SIGN if self.dtype.kind == "f" and self.dtype.itemsize >= 4 else frozenset()

    @property
    def is_uniform(self) -> bool:
        return True

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
    by_rows: ClassVar[bool] = True

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
        Whether zeros stay zeros, as those that a sparse matrix does not store.
    """

    ufunc: str
    vector: NDArray[np.number]
    dtype: np.dtype
    reflected: bool = False
    keeps_zeros: bool = False

    axis_name: ClassVar[str]

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def _instruction(self, dtype: np.dtype, **operand: Any) -> list[Instruction]:
        ufunc = getattr(np, self.ufunc)
        step = Instruction(
            ufunc,
            **operand,
            single=_is_single(self.dtype),
            given=_given(dtype, ufunc, np.ones(1, self.vector.dtype), self.dtype),
            reflected=self.reflected,
            keeps_zeros=self.keeps_zeros,
        )
        return [step]

    def __str__(self) -> str:
        return f"{self.ufunc} {self.axis_name}"


@dataclass(frozen=True, eq=False)
class ByRow(_WithVector):
    """A ufunc of the value and of a number of its row, which leaves zeros as they are; `vector` is `(n_rows,)`."""

    by_row: ClassVar[bool] = True
    axis_name: ClassVar[str] = "rows"

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        return self._instruction(dtype, row=self.vector)

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=_take(self.vector, rows))


@dataclass(frozen=True, eq=False)
class ByColumn(_WithVector):
    """A ufunc of the value and of a number of its column; `vector` is `(n_columns,)`."""

    axis_name: ClassVar[str] = "columns"

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        return self._instruction(dtype, column=self.vector)

    def take(self, rows: Axis, columns: Axis) -> Self:
        return replace(self, vector=_take(self.vector, columns))


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

    @property
    def by_rows(self) -> bool:  # type: ignore[override]
        return self.mask is not None

    def makes_dense(self, *, was_dense: bool) -> bool:
        return self.dense

    def __str__(self) -> str:
        return "scale" + ("" if self.max_value is None else f" (at most {self.max_value:g})")
