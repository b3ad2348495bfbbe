"""Elementwise operations on a matrix that is not in memory: NumPy's functions, Python's operators, SciPy's methods.

One rule for each of the two kinds of matrices that anndata holds. What is dense in memory works as a NumPy array does,
what is sparse as a SciPy matrix does: a step of the chain wherever the operand is a number, or one number a row or
column, and by way of memory for what cannot be such a step.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from scipy import sparse

from ..io.source import is_supported_dtype
from .fallback import run_in_memory, sparse_arrays
from .lowrank import Combine, LowRank
from .mixin import Mixin
from .transforms import ByColumn, ByRow, Cast, Elementwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from .chain import Chain
    from .transforms import Transform

__all__ = ["Arithmetic"]

UNARY_METHODS = (
    "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "deg2rad", "expm1", "floor", "log1p", "rad2deg", "rint", "sign",
    "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Ufuncs that SciPy's sparse matrices have as methods."""

OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
"""Python's binary operators that have a reflected form, and NumPy's names for them. `*` and `**` are apart."""

COMPARISONS = {
    "gt": "greater", "lt": "less", "ge": "greater_equal", "le": "less_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip

IN_PLACE = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "and": "&", "or": "|", "xor": "^",
}  # fmt: skip

_OPERATOR_OF = {getattr(np, ufunc): name for name, ufunc in (OPERATORS | COMPARISONS).items()}

_MIRRORED = {"greater": "less", "less": "greater", "greater_equal": "less_equal", "less_equal": "greater_equal"}

SPARSE_METHODS = {"multiply", "power", "maximum", "minimum"}
"""Binary ufuncs that SciPy's sparse matrices have as methods; the others that they have are operators."""


class Arithmetic(Mixin):
    """Elementwise operations of an :class:`~scanpy_oom.matrix.OOMMatrix`."""

    chain: Chain

    def transform(self, step: Transform) -> Self:
        """Return this matrix with one more lazy step."""
        raise NotImplementedError

    # NumPy and SciPy ask the left operand first; this makes them ask us
    __array_priority__ = 100.0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if not all(_is_operand(value) for value in inputs):
            return NotImplemented
        name = f"np.{ufunc.__name__}"
        if method == "at" or any(isinstance(value, Arithmetic) for value in kwargs.get("out", ())):
            msg = f"{name} cannot write to a matrix on disk, which never changes: set another, `adata.X = {name}(...)`."
            raise TypeError(msg)
        if method != "__call__" and not self.is_dense:
            msg = f"{name}.{method} knows no sparse matrices: use the methods of the matrix, such as `X.sum(axis=0)`."
            raise TypeError(msg)
        dtype = kwargs.pop("dtype", None)
        if dtype is not None and not kwargs and method == "__call__":
            cast = self.astype(dtype)
            return cast.__array_ufunc__(ufunc, method, *(cast if value is self else value for value in inputs))
        if method != "__call__" or kwargs or ufunc.nout != 1 or getattr(np, ufunc.__name__, None) is not ufunc:
            kwargs |= {} if dtype is None else {"dtype": dtype}
            return run_in_memory(getattr(ufunc, method), name, *inputs, **kwargs)
        if len(inputs) == 1:
            return self._unary(ufunc)
        left, right = inputs
        return self._of_two(ufunc, right) if left is self else self._of_two(ufunc, left, reflected=True)

    def _of_two(self, ufunc: np.ufunc, other: Any, *, reflected: bool = False) -> Any:
        """Apply a ufunc, where those that are operators do what the operators do."""
        if ufunc is np.matmul:
            return self.__rmatmul__(other) if reflected else self.__matmul__(other)
        if ufunc is np.multiply and reflected:
            return self.__rmul__(other)  # to NumPy, `v * X` is no different from `np.multiply(v, X)`
        if reflected and ufunc.__name__ in _MIRRORED:
            return self._binary(getattr(np, _MIRRORED[ufunc.__name__]), other)
        return self._binary(ufunc, other, reflected=reflected)

    def _unary(self, ufunc: np.ufunc) -> Any:
        name = f"np.{ufunc.__name__}"
        dtype = ufunc(np.ones(1, self.dtype)).dtype
        if not is_supported_dtype(dtype):
            return run_in_memory(ufunc, name, self)
        with np.errstate(all="ignore"):
            fills = ufunc(np.zeros(1, self.dtype))[0] != 0
        if fills and not self.is_dense:
            msg = f"{name} leaves no zeros of a sparse matrix. Take rows as an array: `{name}(X[rows].toarray())`."
            raise TypeError(msg)
        return self.transform(Elementwise(ufunc.__name__))

    def _binary(self, ufunc: np.ufunc, other: Any, *, reflected: bool = False) -> Any:
        """Return `ufunc(self, other)`, or `ufunc(other, self)` where it is reflected."""
        name = ufunc.__name__
        if not _is_scalar(other) and not hasattr(other, "shape"):
            other = np.asarray(other)
        if not self.is_dense:
            if name in {"add", "subtract"}:
                return self._plus(ufunc, other, reflected=reflected)
            if name == "divide":
                return self._divided(other, reflected=reflected)
            if reflected or name not in {*SPARSE_METHODS, *COMPARISONS.values()}:
                msg = f"np.{name} is not defined here for sparse matrices, in SciPy neither: take `X[rows].toarray()`."
                raise TypeError(msg)
        step = self._step(ufunc, other, reflected=reflected)
        if step is None:
            operands = (other, self) if reflected else (self, other)
            sparse_too = not self.is_dense or (sparse.issparse(other) and ufunc in _OPERATOR_OF)
            return run_in_memory(_of_held(ufunc, sparse_too=sparse_too), f"np.{name}", *operands)
        return self.transform(step)

    def _plus(self, ufunc: np.ufunc, other: Any, *, reflected: bool) -> Any:
        """Add or subtract as SciPy does."""
        if not _is_scalar(other):
            operands = (other, self) if reflected else (self, other)
            return run_in_memory(_of_held(ufunc, sparse_too=True), f"np.{ufunc.__name__}", *operands)
        if other != 0:
            msg = (
                "adding a nonzero scalar to a sparse matrix is not supported, in SciPy neither: it leaves no zeros. "
                "Take rows or columns as an array: `X[rows].toarray() + 1`."
            )
            raise NotImplementedError(msg)
        return -self if reflected and ufunc is np.subtract else self

    def _divided(self, other: Any, *, reflected: bool) -> Any:
        """Divide as SciPy does: multiply by the inverse, in double precision where it is a number."""
        if reflected:
            msg = "a sparse matrix cannot divide: most values are zero. Take rows as an array: `1 / X[rows].toarray()`."
            raise TypeError(msg)
        if _is_scalar(other):
            return self.astype(np.float64)._binary(np.multiply, 1 / other)
        if sparse.issparse(other) or isinstance(other, Arithmetic):
            return run_in_memory(operator.truediv, "np.divide", self, other)
        return self.multiply(np.divide(1, other))

    def _step(self, ufunc: np.ufunc, other: Any, *, reflected: bool) -> Transform | None:
        """Return the lazy step for a number, or for one a row or column; None for what else there is."""
        name = ufunc.__name__
        vector, axis = (other, None) if _is_scalar(other) else _vector(other, self.shape)
        if vector is None:
            return None
        operand = vector if axis is None else np.ones(1, vector.dtype)
        with np.errstate(all="ignore"):
            dtype = _apply(ufunc, np.ones(1, self.dtype), operand, reflected=reflected).dtype
            leaves_zeros = not _apply(ufunc, np.zeros(1, self.dtype), vector, reflected=reflected).any()
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
        if self.chain.background is None and (leaves_zeros or keeps_zeros):
            return ByRow(name, vector, dtype, reflected, keeps_zeros)
        if not self.is_dense:
            return None
        one_a_row = LowRank(vector.astype(np.float64)[:, None], np.ones((1, self.shape[1])))
        return Combine(name, one_a_row, dtype, f"{name} rows", reflected)

    # -- operators that sparse matrices read as products

    def __mul__(self, other: Any) -> Any:
        return self @ other if self._multiplies_matrices(other) else self._binary(np.multiply, other)

    def __rmul__(self, other: Any) -> Any:
        return self.__rmatmul__(other) if self._multiplies_matrices(other) else self._binary(np.multiply, other)

    def _multiplies_matrices(self, other: Any) -> bool:
        if isinstance(other, sparse.spmatrix):
            return True
        return not (self.is_dense or sparse_arrays(self._matrix) or _is_scalar(other))

    def __pow__(self, exponent: Any) -> Any:
        if not self.is_dense and not sparse_arrays(self._matrix):
            msg = "`X ** n` of a sparse matrix is a product of matrices in SciPy. For powers of values: `X.power(n)`."
            raise TypeError(msg)
        return self._binary(np.power, exponent)

    def __rpow__(self, base: Any) -> Any:
        return self._binary(np.power, base, reflected=True)

    def __matmul__(self, other: Any) -> Any:
        raise NotImplementedError

    def __rmatmul__(self, other: Any) -> Any:
        raise NotImplementedError

    def __neg__(self) -> Self:
        return self._unary(np.negative)

    def __pos__(self) -> Self:
        return self if not self.is_dense else self._unary(np.positive)

    def __invert__(self) -> Self:
        return self._unary(np.invert)

    def __abs__(self) -> Self:
        return self._unary(np.absolute)

    __hash__ = None  # type: ignore[assignment]

    # -- SciPy's names

    def multiply(self, other: Any) -> Any:
        """Multiply by a number, or each row or column by one, as SciPy's `multiply`; lazy."""
        return self._binary(np.multiply, other)

    def power(self, n: Any, dtype: DTypeLike | None = None) -> Any:
        """Raise each value to a power, as SciPy's `power`; lazy."""
        if not np.isscalar(n):
            msg = "input is not scalar"
            raise NotImplementedError(msg)
        if not n:
            msg = "zero power is not supported as it would densify the matrix. Use `np.ones(X.shape)` instead."
            raise NotImplementedError(msg)
        return (self if dtype is None else self.astype(dtype))._binary(np.power, n)

    def maximum(self, other: Any) -> Any:
        """Take the larger of each value and a number; lazy."""
        return self._binary(np.maximum, other)

    def minimum(self, other: Any) -> Any:
        """Take the smaller of each value and a number; lazy."""
        return self._binary(np.minimum, other)

    def clip(self, min: Any = None, max: Any = None, out: NDArray | None = None) -> Any:
        """Limit the values, as NumPy's `clip`; lazy."""
        if out is not None:
            msg = "`clip` writes to no other array here: set a new matrix, `adata.X = adata.X.clip(0, 10)`."
            raise TypeError(msg)
        above = self if min is None else self._binary(np.maximum, min)
        return above if max is None else above._binary(np.minimum, max)

    def round(self, decimals: int = 0, out: NDArray | None = None) -> Any:
        """Round each value, as `np.round`; lazy for whole numbers."""
        if decimals or out is not None:
            return run_in_memory(lambda values: _rounded(values, decimals, out), "np.round", self)
        return self._unary(np.rint) if self.dtype.kind == "f" else self

    def __round__(self, ndigits: int = 0) -> Any:
        return self.round(ndigits)

    def conjugate(self, copy: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Return itself: values are real."""
        return self

    conj = conjugate

    @property
    def real(self) -> Self:
        """The matrix itself: values are real."""
        return self

    def astype(self, dtype: DTypeLike, casting: str = "unsafe", copy: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Change the dtype; lazy.

        Raises
        ------
        TypeError
            If values of this type cannot be held out of memory, or `casting` forbids it.
        """
        dtype = np.dtype(dtype)
        if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            msg = f"Cannot cast array data from {self.dtype!r} to {dtype!r} according to the rule {casting!r}"
            raise TypeError(msg)
        if not is_supported_dtype(dtype):
            msg = f"Values of {dtype} stay in memory. Bring X there first: `X.to_memory().astype({dtype.name!r})`."
            raise TypeError(msg)
        return self if dtype == self.dtype else self.transform(Cast(dtype))


def _unary_method(ufunc: np.ufunc) -> Callable[[Arithmetic], Any]:
    def method(self: Arithmetic) -> Any:
        return self._unary(ufunc)

    method.__name__, method.__doc__ = ufunc.__name__, f"Element-wise {ufunc.__name__}; lazy."
    return method


def _operator(ufunc: np.ufunc, *, reflected: bool = False) -> Callable[[Arithmetic, Any], Any]:
    def method(self: Arithmetic, other: Any) -> Any:
        return self._binary(ufunc, other, reflected=reflected) if _is_operand(other) else NotImplemented

    return method


def _in_place(symbol: str) -> Callable[[Arithmetic, Any], NoReturn]:
    def method(self: Arithmetic, other: Any) -> NoReturn:
        msg = (
            f"`X {symbol}= ...` would change a matrix in place, and one that stays on disk never changes. "
            f"Set a new one: `adata.X = adata.X {symbol} ...`."
        )
        raise TypeError(msg)

    return method


for _name in UNARY_METHODS:
    setattr(Arithmetic, _name, _unary_method(getattr(np, _name)))
for _name, _ufunc in OPERATORS.items():
    setattr(Arithmetic, f"__{_name}__", _operator(getattr(np, _ufunc)))
    setattr(Arithmetic, f"__r{_name}__", _operator(getattr(np, _ufunc), reflected=True))
for _name, _ufunc in COMPARISONS.items():
    setattr(Arithmetic, f"__{_name}__", _operator(getattr(np, _ufunc)))
for _name, _symbol in IN_PLACE.items():
    setattr(Arithmetic, f"__i{_name}__", _in_place(_symbol))


def _rounded(values: Any, decimals: int, out: NDArray | None) -> Any:
    return round(values, decimals) if sparse.issparse(values) else values.round(decimals, out)


def _is_scalar(value: Any) -> bool:
    return np.isscalar(value) or (np.ndim(value) == 0 and hasattr(value, "dtype"))


def _is_operand(value: Any) -> bool:
    if isinstance(value, str) or value is None:
        return False
    return _is_scalar(value) or hasattr(value, "__array__") or sparse.issparse(value) or isinstance(value, list | tuple)


def _apply(ufunc: np.ufunc, values: NDArray, operand: Any, *, reflected: bool) -> NDArray:
    return ufunc(operand, values) if reflected else ufunc(values, operand)


def _vector(other: Any, shape: tuple[int, int]) -> tuple[NDArray | None, int]:
    """Return one number a row or column, and of which axis; None if it is something else.

    Raises
    ------
    ValueError
        If it does not fit the shape.
    """
    if np.broadcast_shapes(other.shape, shape) != shape or isinstance(other, Arithmetic):
        return None, 0
    n_rows, n_columns = shape
    of_columns = other.shape in {(n_columns,), (1, n_columns)}
    if not of_columns and other.shape != (n_rows, 1) and np.prod(other.shape) != 1:
        return None, 0
    values = np.asarray(other.toarray() if sparse.issparse(other) else other).ravel()
    if of_columns:
        return values, 1
    return (values, 0) if other.shape == (n_rows, 1) else (np.broadcast_to(values, n_columns), 1)


def _of_held(ufunc: np.ufunc, *, sparse_too: bool) -> Callable[..., Any]:
    """Return what does in memory what a ufunc does; NumPy's own functions do not know SciPy's matrices."""
    name = ufunc.__name__
    if not sparse_too:
        return ufunc
    if name in SPARSE_METHODS:
        return lambda values, other: getattr(values, name)(other)
    return getattr(operator, _OPERATOR_OF[ufunc])
