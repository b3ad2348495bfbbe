"""NumPy's and SciPy's arithmetic on a matrix that is not in memory: lazy where it can be, streamed otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from .engine import engine
from .transforms import Cast, Elementwise, MultiplyColumns, MultiplyRows

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .oommatrix import OOMMatrix
    from .transforms import Transform

__all__ = ["Arithmetic", "Transposed"]

_UNARY = {"log1p", "expm1", "sqrt", "square", "absolute", "sign"}
_COMPARISONS = {"greater", "less", "not_equal", "greater_equal", "less_equal", "equal"}
_MIRRORED = {"greater": "less", "less": "greater", "greater_equal": "less_equal", "less_equal": "greater_equal"}


class Arithmetic:
    """Elementwise operations, reductions and products of an :class:`~scanpy_oom.matrix.OOMMatrix`."""

    shape: tuple[int, int]
    dtype: np.dtype
    is_dense: bool

    def transform(self, step: Transform) -> Self:
        """Return this matrix with one more lazy step."""
        raise NotImplementedError

    # numpy asks the left operand first; this makes it ask us
    __array_priority__ = 100.0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__" or kwargs:
            return NotImplemented
        if name in _UNARY:
            return self.transform(Elementwise(name))
        if len(inputs) != 2:
            return NotImplemented
        left, right = inputs
        if name == "matmul":
            return self @ right if left is self else (self.T @ np.asarray(left).T).T
        if name == "multiply":
            return self._scaled(right if left is self else left, divide=False)
        if name == "divide" and left is self:
            return self._scaled(right, divide=True)
        if name == "power" and left is self and np.isscalar(right):
            return self._power(right)
        if name in _COMPARISONS:
            return self._compare(name, right) if left is self else self._compare(_MIRRORED.get(name, name), left)
        return NotImplemented

    def _compare(self, name: str, other: Any) -> Any:
        if np.ndim(other) > 0 or not np.isscalar(other):
            return NotImplemented
        return self.transform(Elementwise(name, float(other), np.dtype(bool)))  # type: ignore[arg-type]

    def _power(self, exponent: Any) -> Self:
        if not exponent > 0:
            msg = f"zero to the power {exponent!r} is not a number: only positive powers keep a matrix sparse."
            raise ValueError(msg)
        return self.transform(Elementwise("power", float(exponent), np.power(np.ones(1, self.dtype), exponent).dtype))

    def _scaled(self, other: Any, *, divide: bool) -> Any:
        ufunc = np.divide if divide else np.multiply
        if np.isscalar(other) or np.ndim(other) == 0:
            dtype = ufunc(np.ones(1, self.dtype), other).dtype
            factor: Any = other if np.isscalar(other) else other[()]
            return self.transform(Elementwise(ufunc.__name__, factor, dtype))
        if sparse.issparse(other) or not hasattr(other, "__array__"):
            return NotImplemented
        vector = np.asarray(other)
        dtype = ufunc(np.ones(1, self.dtype), np.ones(1, vector.dtype)).dtype
        if vector.shape == (self.shape[0], 1):
            return self.transform(MultiplyRows(vector.ravel(), dtype, divide))
        if vector.shape in {(self.shape[1],), (1, self.shape[1])}:
            return self.transform(MultiplyColumns(vector.ravel(), dtype, divide))
        msg = (
            f"A matrix of shape {self.shape} takes factors of shape ({self.shape[0]}, 1) or ({self.shape[1]},), "
            f"not {vector.shape}. Bring it into memory first (`.to_memory()`) for other products by element."
        )
        raise ValueError(msg)

    def multiply(self, other: Any) -> Self:
        """Multiply by a number, or each row or column by one, as SciPy's `multiply`; lazy."""
        return self._scaled(other, divide=False)

    def __mul__(self, other: Any) -> Any:
        return self._scaled(other, divide=False)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._scaled(other, divide=True)

    def __pow__(self, exponent: Any) -> Self:
        return self._power(exponent)

    def __abs__(self) -> Self:
        return self.transform(Elementwise("absolute"))

    def __gt__(self, other: Any) -> Any:
        return self._compare("greater", other)

    def __lt__(self, other: Any) -> Any:
        return self._compare("less", other)

    def __ge__(self, other: Any) -> Any:
        return self._compare("greater_equal", other)

    def __le__(self, other: Any) -> Any:
        return self._compare("less_equal", other)

    def __eq__(self, other: object) -> Any:
        return self._compare("equal", other)

    def __ne__(self, other: object) -> Any:
        return self._compare("not_equal", other)

    __hash__ = None  # type: ignore[assignment]

    def astype(self, dtype: DTypeLike, copy: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Change the dtype; lazy."""
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype else self.transform(Cast(dtype))

    # -- reductions

    def sum(self, axis: int | None = None, dtype: DTypeLike | None = None) -> Any:
        """Sum over an axis or over all, in the shape and dtype that SciPy or NumPy gives."""
        statistics = engine().statistics(self._as_matrix, "row_sum" if axis in (1, -1) else "col_sum")
        probe = np.zeros((1, 1), self.dtype) if self.is_dense else sparse.csr_matrix((1, 1), dtype=self.dtype)
        dtype = probe.sum(axis=0, dtype=dtype).dtype
        if axis is None:
            return statistics.known["col_sum"].sum().astype(dtype)
        return self._vector(statistics.known["row_sum" if axis in (1, -1) else "col_sum"].astype(dtype), axis)

    def mean(self, axis: int | None = None, dtype: DTypeLike | None = None) -> Any:
        """Mean over an axis or over all, in the shape and dtype that SciPy or NumPy gives."""
        statistics = engine().statistics(self._as_matrix, "row_sum" if axis in (1, -1) else "col_sum")
        probe = np.zeros((1, 1), self.dtype) if self.is_dense else sparse.csr_matrix((1, 1), dtype=self.dtype)
        dtype = probe.mean(axis=0, dtype=dtype).dtype
        n_rows, n_columns = self.shape
        if axis is None:
            return (statistics.known["col_sum"].sum() / (n_rows * n_columns)).astype(dtype)
        if axis in (1, -1):
            return self._vector((statistics.known["row_sum"] / n_columns).astype(dtype), axis)
        return self._vector((statistics.known["col_sum"] / n_rows).astype(dtype), axis)

    def max(self, axis: None = None) -> Any:
        """Largest value."""
        _require_no_axis("max", axis)
        return self.dtype.type(engine().extrema(self._as_matrix).maximum)

    def min(self, axis: None = None) -> Any:
        """Smallest value."""
        _require_no_axis("min", axis)
        return self.dtype.type(engine().extrema(self._as_matrix).minimum)

    def count_nonzero(self, axis: int | None = None) -> Any:
        """Count values that are not zero, over all or along an axis."""
        statistics = engine().statistics(self._as_matrix, "row_nnz" if axis in (1, -1) else "col_nnz")
        if axis is None:
            return int(statistics.known["col_nnz"].sum())
        return statistics.known["row_nnz" if axis in (1, -1) else "col_nnz"].copy()

    def _vector(self, values: NDArray, axis: int) -> NDArray | np.matrix:
        if self.is_dense:
            return values
        return np.asmatrix(values[:, None] if axis in (1, -1) else values[None, :])  # as SciPy's matrices give

    # -- products

    def __matmul__(self, other: Any) -> NDArray:
        dense = other.toarray() if sparse.issparse(other) else np.asarray(other)
        if dense.shape[0] != self.shape[1]:
            msg = f"Shapes {self.shape} and {dense.shape} do not fit."
            raise ValueError(msg)
        out = engine().right_product(self._as_matrix, dense.reshape(dense.shape[0], -1))
        return out.reshape(self.shape[0], *dense.shape[1:]).astype(np.result_type(self.dtype, dense.dtype), copy=False)

    def dot(self, other: Any) -> NDArray:
        """Matrix product with a dense or sparse matrix or vector in memory."""
        return self @ other

    @property
    def T(self) -> Transposed:  # noqa: N802
        """The transposed matrix, for products."""
        return Transposed(self._as_matrix)

    @property
    def _as_matrix(self) -> OOMMatrix:
        return self  # type: ignore[return-value]


def _require_no_axis(name: str, axis: object) -> None:
    if axis is not None:
        msg = f"{name} along an axis is not done out of memory; take `.to_memory()` of the rows or columns wanted."
        raise NotImplementedError(msg)


class Transposed:
    """A matrix with rows and columns exchanged, for products and for bringing it into memory."""

    def __init__(self, parent: OOMMatrix) -> None:
        self.T = parent
        self.shape = parent.shape[::-1]
        self.dtype = parent.dtype

    __array_priority__ = 100.0

    def __matmul__(self, other: Any) -> NDArray:
        dense = other.toarray() if sparse.issparse(other) else np.asarray(other)
        if dense.shape[0] != self.shape[1]:
            msg = f"Shapes {self.shape} and {dense.shape} do not fit."
            raise ValueError(msg)
        out = engine().left_product(self.T, dense.reshape(dense.shape[0], -1))
        return out.reshape(self.shape[0], *dense.shape[1:]).astype(np.result_type(self.dtype, dense.dtype), copy=False)

    dot = __matmul__

    def to_memory(self) -> Any:
        """Bring it into memory: CSC of what is CSR, or a dense array."""
        return self.T.to_memory().T

    def __repr__(self) -> str:
        return f"transpose of {self.T!r}"
