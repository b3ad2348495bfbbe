"""Products of a matrix that is not in memory with others, and its transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .engine import engine
from .fallback import as_held, run_in_memory
from .mixin import Mixin

if TYPE_CHECKING:
    from .oommatrix import OOMMatrix

__all__ = ["Products"]


class Products(Mixin):
    """Products of an :class:`~scanpy_oom.matrix.OOMMatrix`."""

    def __matmul__(self, other: Any) -> Any:
        if np.isscalar(other) or (np.ndim(other) == 0 and not hasattr(other, "shape")):
            msg = "Scalar operands are not allowed, use '*' instead"
            raise ValueError(msg)
        if isinstance(other, Products):
            return run_in_memory(lambda values: self @ values, "X @ Y", other)
        if not sparse.issparse(other):
            other = np.asanyarray(other)
        _check(self.shape, other.shape)
        dtype = np.result_type(self.dtype, other.dtype)
        if _is_diagonal(other):
            return self._matrix.multiply(other.diagonal())
        if sparse.issparse(other):
            if self.is_dense:
                return self @ other.toarray()
            return as_held(self._matrix, self._times(other).astype(dtype, copy=False))
        factors = other.reshape(other.shape[0], -1)
        product = self._times(np.asarray(factors)).astype(dtype, copy=False)
        shown = product.reshape(self.shape[0], *other.shape[1:])
        return shown.view(np.matrix) if isinstance(other, np.matrix) else shown

    def __rmatmul__(self, other: Any) -> Any:
        if np.isscalar(other):
            msg = "Scalar operands are not allowed, use '*' instead"
            raise ValueError(msg)
        other = other if sparse.issparse(other) else np.asanyarray(other)
        _check(other.shape, self.shape)
        if _is_diagonal(other):
            return self._matrix.multiply(other.diagonal()[:, None])
        return (self.T @ other.T).T

    def dot(self, other: Any) -> Any:
        """Matrix product with a dense or sparse matrix or vector in memory; product with a number."""
        if np.isscalar(other):
            return self * (np.asarray(other) if self.is_dense else other)  # type: ignore[operator]
        return self @ other

    # what SciPy's linear operators are made of (`scipy.sparse.linalg.svds`)

    def matvec(self, x: Any) -> Any:
        """Product with a vector."""
        return self @ x

    matmat = matvec

    def rmatvec(self, x: Any) -> Any:
        """Product of the transposed with a vector."""
        return self.T @ x

    rmatmat = rmatvec

    @property
    def T(self) -> OOMMatrix:  # noqa: N802
        """The transposed matrix; lazy."""
        return self.transpose()

    def transpose(self, axes: tuple[int, int] | None = None, copy: bool = False) -> OOMMatrix:  # noqa: FBT001, FBT002
        """Exchange rows and columns; lazy."""
        if axes is not None and tuple(axes) != (1, 0):
            msg = (
                "Sparse matrices do not support an 'axes' parameter because swapping dimensions is the only "
                "logical permutation."
            )
            raise ValueError(msg)
        return engine().transpose(self._matrix) if self.mirror is None else self.mirror

    def _times(self, other: Any) -> Any:
        """Multiply by what has two dimensions and fits."""
        if self.mirror is not None:
            # sums over rows are dense, which many columns of a sparse matrix, such as a graph of cells, are not worth
            if sparse.issparse(other) and 8 * self.shape[0] * other.shape[1] > self.nbytes_in_memory:
                return run_in_memory(lambda values: values @ other, "X.T @ S", self)
            return engine().left_product(self.mirror, other)
        return engine().right_product(self._matrix, other)


def _is_diagonal(other: Any) -> bool:
    """Whether a product multiplies each row or column by a number, which is lazy (``scipy.sparse.diags(v) @ X``)."""
    square = sparse.issparse(other) and other.format == "dia" and other.shape[0] == other.shape[1]
    return square and not other.offsets.any()


def _check(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    if left[-1] != right[0] or len(right) > 2:
        msg = f"dimension mismatch: shapes {left} and {right} do not fit."
        raise ValueError(msg)
