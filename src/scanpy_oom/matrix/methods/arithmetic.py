"""Elementwise operations on a matrix that is not in memory: NumPy's functions, Python's operators, SciPy's methods.

One rule for each of the two kinds of matrices that anndata holds. What is dense in memory works as a NumPy array does,
what is sparse as a SciPy matrix does: a step of the chain wherever the operand is a number, or one number a row or
column, and by way of memory for what cannot be such a step.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from scipy import sparse

from ...storage.sources.base import is_supported_dtype
from ..transforms import ByColumn, ByRow, Cast, Elementwise
from ..transforms.low_rank import Combine, LowRank
from .base import Mixin
from .in_memory import run_in_memory, sparse_arrays
from .operands import (
    COMPARISONS,
    OPERATOR_OF,
    OPERATORS,
    OPPOSITES,
    SPARSE_METHODS,
    apply,
    holds_of_missing,
    is_operand,
    is_scalar,
    of_held,
    rounded,
    vector_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix
    from ..transforms import Transform
    from .base import Result

    Casting = Literal["no", "equiv", "safe", "same_kind", "unsafe"]

__all__ = ["Arithmetic"]

UNARY_METHODS = (
    "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "deg2rad", "expm1", "floor", "log1p", "rad2deg", "rint", "sign",
    "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Ufuncs that SciPy's sparse matrices have as methods."""

_MIRRORED = {
    "greater": "less", "less": "greater", "greater_equal": "less_equal", "less_equal": "greater_equal",
    "equal": "equal", "not_equal": "not_equal",
}  # fmt: skip


class Arithmetic(Mixin):
    """Elementwise operations of an :class:`~scanpy_oom.matrix.OOMMatrix`."""

    def transform(self, step: Transform) -> Self:
        """Return this matrix with one more lazy step."""
        raise NotImplementedError

    # NumPy and SciPy ask the left operand first; this makes them ask us
    __array_priority__ = 100.0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Result:
        if not all(is_operand(value) for value in inputs):
            return NotImplemented
        name = f"np.{ufunc.__name__}"
        if any(isinstance(value, Arithmetic) for value in kwargs.get("out", ())):
            return self._written_to(ufunc, method, inputs, kwargs)
        if method == "at":
            matrix, others = self._matrix, inputs[1:]
            return matrix.change_in_memory(lambda values: ufunc.at(values, *others), f"{name}.at")
        if method != "__call__" and not self.is_dense:
            msg = f"{name}.{method} knows no sparse matrices: use the methods of the matrix, such as `X.sum(axis=0)`."
            raise TypeError(msg)
        dtype = kwargs.pop("dtype", None)
        if dtype is not None and not kwargs and method == "__call__":
            converted = self.astype(dtype)
            return ufunc(*(converted if value is self else value for value in inputs))
        if method != "__call__" or kwargs or ufunc.nout != 1 or getattr(np, ufunc.__name__, None) is not ufunc:
            kwargs |= {} if dtype is None else {"dtype": dtype}
            return run_in_memory(getattr(ufunc, method), name, *inputs, **kwargs)
        if len(inputs) == 1:
            # to NumPy, a sparse matrix is an object, which it multiplies by itself
            return self * self if ufunc is np.square and not self.is_dense else self._unary(ufunc)
        left, right = inputs
        return self._of_two(ufunc, right) if left is self else self._of_two(ufunc, left, reflected=True)

    @staticmethod
    def _written_to(ufunc: np.ufunc, method: str, inputs: tuple[object, ...], kwargs: dict[str, Any]) -> Result:
        """Run a ufunc whose result is to be that of a matrix: what is there changes, as an array does."""
        (target,) = kwargs.pop("out")
        matrix: OOMMatrix = target
        if not matrix.is_dense:
            msg = (
                f"np.{ufunc.__name__} cannot write to a sparse matrix, just as with SciPy. "
                "Write to `X.data`, which holds the stored values."
            )
            raise TypeError(msg)
        if kwargs or method != "__call__":  # NumPy writes to some places alone
            held = [value.to_memory() if isinstance(value, Mixin) else value for value in inputs]
            named = {name: value.to_memory() if isinstance(value, Mixin) else value for name, value in kwargs.items()}
            result = matrix.toarray()
            getattr(ufunc, method)(*held, out=(result,), **named)
        else:
            result = ufunc(*inputs)
        matrix.take_values_of(result)
        return target

    def _of_two(self, ufunc: np.ufunc, other: object, *, reflected: bool = False) -> Result:
        """Apply a ufunc, where those that are operators do what the operators do."""
        if ufunc is np.matmul:
            return self.__rmatmul__(other) if reflected else self.__matmul__(other)
        if ufunc is np.multiply and reflected:
            return self.__rmul__(other)  # to NumPy, `v * X` is no different from `np.multiply(v, X)`
        if reflected and ufunc.__name__ in _MIRRORED:
            return self._binary(getattr(np, _MIRRORED[ufunc.__name__]), other)
        return self._binary(ufunc, other, reflected=reflected)

    def _unary(self, ufunc: np.ufunc) -> Result:
        name = f"np.{ufunc.__name__}"
        if ufunc is np.negative and self.dtype == bool and not self.is_dense:
            msg = "negating a boolean sparse matrix is not supported, as in SciPy. `X == 0` is true where it is false."
            raise NotImplementedError(msg)
        dtype = ufunc(np.ones(1, self.dtype)).dtype
        if not is_supported_dtype(dtype):
            return run_in_memory(ufunc, name, self)
        with np.errstate(all="ignore"):
            fills = ufunc(np.zeros(1, self.dtype))[0] != 0
        if fills and not self.is_dense:
            msg = f"{name} leaves no zeros of a sparse matrix. Take rows as an array: `{name}(X[rows].toarray())`."
            raise TypeError(msg)
        self._check_held(dtype)
        return self.transform(Elementwise(ufunc.__name__))

    def _binary(self, ufunc: np.ufunc, other: object, *, reflected: bool = False) -> Result:
        """Return `ufunc(self, other)`, or `ufunc(other, self)` where it is reflected."""
        name = ufunc.__name__
        if not is_scalar(other) and not hasattr(other, "shape"):
            other = np.asarray(other)
        if not self.is_dense:
            if name in {"add", "subtract"}:
                return self._plus(ufunc, other, reflected=reflected)
            if name == "divide":
                return self._divided(other, reflected=reflected)
            if reflected or name not in {*SPARSE_METHODS, *COMPARISONS.values()}:
                msg = f"np.{name} is not defined for sparse matrices, as in SciPy: use `X[rows].toarray()`."
                raise TypeError(msg)
        step = self._step(ufunc, other, reflected=reflected)
        if step is None:
            operands = (other, self) if reflected else (self, other)
            sparse_too = not self.is_dense or (sparse.issparse(other) and ufunc in OPERATOR_OF)
            return run_in_memory(of_held(ufunc, sparse_too=sparse_too), f"np.{name}", *operands)
        may_miss = not self.is_dense and self.dtype.kind == "f"
        if name in OPPOSITES and isinstance(step, Elementwise) and may_miss and ufunc(0, other) and holds_of_missing():
            # as SciPy does where it holds of zeros
            opposite = self.transform(replace(step, ufunc=OPPOSITES[name]))
            return opposite.transform(Elementwise("logical_not"))
        return self.transform(step)

    def _check_held(self, dtype: np.dtype) -> None:
        """Raise ValueError where this is sparse, and SciPy holds no values of a type."""
        if not self.is_dense and (dtype == np.float16 or not dtype.isnative):
            msg = (
                f"scipy.sparse does not support dtype {dtype.name}, so that no sparse matrix has values of {dtype!r}. "
                "Take single precision first, `X.astype(np.float32)`."
            )
            raise ValueError(msg)

    def _plus(self, ufunc: np.ufunc, other: object, *, reflected: bool) -> Result:
        """Add or subtract as SciPy does."""
        if not is_scalar(other):
            operands = (other, self) if reflected else (self, other)
            return run_in_memory(of_held(ufunc, sparse_too=True), f"np.{ufunc.__name__}", *operands)
        if other != 0:
            msg = (
                "SciPy cannot add a nonzero scalar to a sparse matrix, nor can scanpy-oom: the result has no zeros. "
                "Take rows or columns as an array: `X[rows].toarray() + 1`."
            )
            raise NotImplementedError(msg)
        return -self if reflected and ufunc is np.subtract else self.copy()

    def _divided(self, other: Any, *, reflected: bool) -> Result:
        """Divide as SciPy does: multiply by the inverse, in double precision where it is a number."""
        if reflected:
            msg = "nothing can be divided by a sparse matrix: most of its values are zero. "
            msg += "Take rows as an array: `1 / X[rows].toarray()`."
            raise TypeError(msg)
        if is_scalar(other):
            return self.astype(np.float64)._binary(np.multiply, 1 / other)
        if sparse.issparse(other) or isinstance(other, Arithmetic):
            return run_in_memory(operator.truediv, "np.divide", self, other)
        return self.multiply(np.divide(1, other))

    def _step(self, ufunc: np.ufunc, other: Any, *, reflected: bool) -> Transform | None:
        """Return the lazy step for a number, or for one a row or column; None for what else there is."""
        name = ufunc.__name__
        if sparse.issparse(other) and name in COMPARISONS.values():
            return None  # SciPy compares sparse matrices of one shape, and has an answer for others
        vector, axis = (other, None) if is_scalar(other) else vector_of(other, self.shape)
        if vector is None:
            return None
        operand = vector if axis is None else np.ones(1, vector.dtype)
        with np.errstate(all="ignore"):
            dtype = apply(ufunc, np.ones(1, self.dtype), operand, reflected=reflected).dtype
            leaves_zeros = not apply(ufunc, np.zeros(1, self.dtype), vector, reflected=reflected).any()
        if not is_supported_dtype(dtype):
            return None
        # what SciPy multiplies or raises to a power are the values that are stored
        keeps_zeros = not self.is_dense and name in {"multiply", "power"} and not leaves_zeros
        if axis is None:
            scalar: Any = other if np.isscalar(other) else other[()]
            return Elementwise(name, scalar, dtype, reflected, keeps_zeros)
        if not (self.is_dense or leaves_zeros or keeps_zeros):
            return None
        if axis == 1:
            return ByColumn(name, vector, dtype, reflected, keeps_zeros)
        if self.chain.fill_values is None and (leaves_zeros or keeps_zeros):
            return ByRow(name, vector, dtype, reflected, keeps_zeros)
        if not self.is_dense:
            return None
        one_a_row = LowRank(vector.astype(np.float64)[:, None], np.ones((1, self.shape[1])))
        return Combine(name, one_a_row, dtype, f"{name} rows", reflected)

    # -- operators that sparse matrices read as products

    def __mul__(self, other: object) -> Result:
        return self @ other if self._multiplies_matrices(other) else self._binary(np.multiply, other)

    def __rmul__(self, other: object) -> Result:
        return self.__rmatmul__(other) if self._multiplies_matrices(other) else self._binary(np.multiply, other)

    def _multiplies_matrices(self, other: object) -> bool:
        if isinstance(other, sparse.spmatrix):
            return True
        return not (self.is_dense or sparse_arrays(self._matrix) or is_scalar(other))

    def __pow__(self, exponent: object) -> Result:
        if self._multiplies_matrices(self):
            if self.shape[0] == self.shape[1]:
                return run_in_memory(operator.pow, "X ** n", self, exponent)
            msg = (
                "`X ** n` multiplies a sparse matrix of SciPy by itself, so it must be square; this one has the shape "
                f"{self.shape}. Use `X.power(n)` to raise each value to a power."
            )
            raise TypeError(msg)
        return self._power(exponent)

    def _power(self, exponent: object) -> Result:
        if np.isscalar(exponent) and exponent == 2:
            return self._unary(np.square)  # as NumPy's `**` does it, which tells in the dtype of booleans
        return self._binary(np.power, exponent)

    def __rpow__(self, base: object) -> Result:
        return self._binary(np.power, base, reflected=True)

    def __matmul__(self, other: object) -> Result:
        raise NotImplementedError

    def __rmatmul__(self, other: object) -> Result:
        raise NotImplementedError

    def __neg__(self) -> Result:
        return self._unary(np.negative)

    def __pos__(self) -> Result:
        return self.copy() if not self.is_dense else self._unary(np.positive)

    def __invert__(self) -> Result:
        return self._unary(np.invert)

    def __abs__(self) -> Result:
        return self._unary(np.absolute)

    __hash__ = None  # type: ignore[assignment]

    # -- SciPy's names

    def multiply(self, other: object) -> Result:
        """Multiply by a number, or each row or column by one, as SciPy's `multiply`; lazy."""
        return self._binary(np.multiply, other)

    def power(self, n: object, dtype: DTypeLike | None = None) -> Result:
        """Raise each value to a power, as SciPy's `power`; lazy."""
        if not np.isscalar(n):
            msg = "input is not scalar"
            raise NotImplementedError(msg)
        if not n:
            msg = "zero power is not supported as it would densify the matrix. Use `np.ones(X.shape)` instead."
            raise NotImplementedError(msg)
        return (self if dtype is None else self.astype(dtype))._power(n)

    def maximum(self, other: object) -> Result:
        """Take the larger of each value and a number; lazy."""
        return self._binary(np.maximum, other)

    def minimum(self, other: object) -> Result:
        """Take the smaller of each value and a number; lazy."""
        return self._binary(np.minimum, other)

    def clip(self, min: object = None, max: Any = None, out: Any = None) -> Result:
        """Limit the values, as NumPy's `clip`; lazy."""
        above: Any = self.copy() if min is None else self._binary(np.maximum, min)
        clipped = above if max is None else above._binary(np.minimum, max)
        if out is None:
            return clipped
        if isinstance(out, Mixin):
            cast("OOMMatrix", out).take_values_of(clipped)
        else:
            np.copyto(out, np.asarray(clipped), casting="same_kind")
        return out

    def round(self, decimals: int = 0, out: Values | None = None) -> Result:
        """Round each value, as `np.round`; lazy for whole numbers."""
        if decimals or out is not None:
            return run_in_memory(lambda values: rounded(values, decimals, out), "np.round", self)
        return self._unary(np.rint) if self.dtype.kind == "f" else self.copy()

    def __round__(self, ndigits: int = 0) -> Result:
        return self.round(ndigits)

    def conjugate(self, copy: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Return the same values: they are real."""
        return self.copy() if copy else self

    conj = conjugate

    @property
    def real(self) -> Self:
        """The matrix itself: values are real."""
        return self

    def astype(self, dtype: DTypeLike, casting: Casting = "unsafe", copy: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Change the dtype; lazy, but of values that are no real numbers, which are brought into memory.

        Raises
        ------
        TypeError
            If `casting` forbids it.
        ValueError
            If this is sparse, and SciPy holds no values of this type.
        """
        dtype = np.dtype(dtype)
        if not np.can_cast(self.dtype, dtype, casting):
            msg = f"Cannot cast array data from {self.dtype!r} to {dtype!r} according to the rule {casting!r}"
            raise TypeError(msg)
        if not is_supported_dtype(dtype):
            return run_in_memory(lambda values: values.astype(dtype), f"X.astype({dtype.name!r})", self)
        self._check_held(dtype)
        if dtype == self._matrix.dtype_in_memory:
            return self.copy() if copy else self
        return self.transform(Cast(dtype))


def _unary_method(ufunc: np.ufunc) -> Callable[[Arithmetic], Result]:
    def method(self: Arithmetic) -> Result:
        return self._unary(ufunc)

    method.__name__, method.__doc__ = ufunc.__name__, f"Element-wise {ufunc.__name__}; lazy."
    return method


def _operator(ufunc: np.ufunc, *, reflected: bool = False) -> Callable[[Arithmetic, object], Result]:
    def method(self: Arithmetic, other: object) -> Result:
        if self.is_dense and ufunc in {np.equal, np.not_equal} and (other is None or isinstance(other, str)):
            return run_in_memory(getattr(operator, OPERATOR_OF[ufunc]), f"np.{ufunc.__name__}", self, other)
        return self._binary(ufunc, other, reflected=reflected) if is_operand(other) else NotImplemented

    return method


for _name in UNARY_METHODS:
    setattr(Arithmetic, _name, _unary_method(getattr(np, _name)))
for _name, _ufunc in OPERATORS.items():
    setattr(Arithmetic, f"__{_name}__", _operator(getattr(np, _ufunc)))
    setattr(Arithmetic, f"__r{_name}__", _operator(getattr(np, _ufunc), reflected=True))
for _name, _ufunc in COMPARISONS.items():
    setattr(Arithmetic, f"__{_name}__", _operator(getattr(np, _ufunc)))
