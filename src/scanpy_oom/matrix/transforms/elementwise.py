"""Transforms of values alone: NumPy's functions, and casts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Transform, given_dtype, is_single
from .instruction import Call, Instruction

__all__ = ["Cast", "Elementwise"]

_KEEP_SIGN = frozenset({"row_nnz", "row_npos", "col_nnz", "col_npos"})


_COMPARISONS = frozenset({"greater", "less", "not_equal", "greater_equal", "less_equal", "equal", "logical_not"})


@dataclass(frozen=True)
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
        Whether zeros that are not stored stay zeros, as those of a sparse matrix.
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
        result = self.result_dtype(dtype)
        step = Call(
            self.ufunc,
            self.operand,
            given_dtype(dtype, self.ufunc, self.operand, result, reflected=self.reflected),
            self.reflected,
            single=is_single(result),
            keeps_zeros=self.keeps_zeros,
        )
        return [step]

    @property
    def kept_statistics(self) -> frozenset[str]:
        return _KEEP_SIGN if self.ufunc in {"log1p", "expm1", "sqrt"} else frozenset()

    @property
    def drops_zeros(self) -> bool:
        return self.ufunc in _COMPARISONS and not self.keeps_zeros

    @property
    def is_uniform(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.ufunc if self.operand is None else f"{self.ufunc} {self.operand:g}"


@dataclass(frozen=True)
class Cast(Transform):
    """A change of dtype."""

    dtype: np.dtype

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        if self.dtype.kind == "b":
            return [Call("not_equal", 0.0)]
        given: tuple[np.dtype, ...] = (self.dtype,) if self.dtype == np.float16 else ()
        if self.dtype.kind in "iu":
            # of floating-point numbers, NumPy's own of what is out of range, or no number; of others by way of the
            # widest, so that what is out of range wraps around
            given = (dtype if dtype.kind == "f" else np.dtype(np.int64), self.dtype)
        return [Call("positive", given=given, single=is_single(self.dtype))]

    @property
    def kept_statistics(self) -> frozenset[str]:
        # what half precision does not hold becomes zero
        return _KEEP_SIGN if self.dtype.kind == "f" and self.dtype.itemsize >= 4 else frozenset()

    @property
    def is_uniform(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"as {self.dtype}"
