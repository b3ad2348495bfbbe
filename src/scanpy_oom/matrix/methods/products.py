"""Products of a matrix that is not in memory with others, and its transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..protocol import engine
from .base import Mixin
from .in_memory import as_held, run_in_memory

if TYPE_CHECKING:
    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix
    from .base import Held, Result

__all__ = ["Products"]


class Products(Mixin):
    """Products of an :class:`~scanpy_oom.matrix.OOMMatrix`."""

    def __matmul__(self, other: Any) -> Result:
        if other is None and not self.is_dense:
            return NotImplemented
        if np.ndim(other) == 0 and not sparse.issparse(other) and not isinstance(other, Products):
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
        factors = other.reshape(other.shape[0], int(np.prod(other.shape[1:])))
        product = self._times(np.asarray(factors))
        if self.is_dense and not np.isfinite(factors).all():
            product = self._with_undefined(product, factors)
        product = product.astype(dtype, copy=False)
        shown = product.reshape(self.shape[0], *other.shape[1:])
        return shown.view(np.matrix) if isinstance(other, np.matrix) else shown

    def __rmatmul__(self, other: Any) -> Result:
        if other is None and not self.is_dense:
            return NotImplemented
        if np.ndim(other) == 0 and not sparse.issparse(other):
            msg = "Scalar operands are not allowed, use '*' instead"
            raise ValueError(msg)
        other = other if sparse.issparse(other) else np.asanyarray(other)
        _check(other.shape, self.shape)
        if _is_diagonal(other):
            # as SciPy holds what a diagonal is on the left of
            held = self._matrix if self.is_dense else self._matrix.tocsr()
            return held.multiply(other.diagonal()[:, None])
        product = (self.T @ other.T).T
        return _of_kind(product, other) if sparse.issparse(product) and sparse.issparse(other) else product

    def dot(self, other: object) -> Result:
        """Matrix product with a dense or sparse matrix or vector in memory; product with a number."""
        if np.isscalar(other):
            return self._matrix * (np.asarray(other) if self.is_dense else other)
        return self @ other

    # what SciPy's linear operators are made of (`scipy.sparse.linalg.svds`)

    def matvec(self, x: object) -> Result:
        """Product with a vector."""
        return self @ x

    matmat = matvec

    def rmatvec(self, x: object) -> Result:
        """Product of the transposed with a vector."""
        return self.T @ x

    rmatmat = rmatvec

    @property
    def T(self) -> OOMMatrix:  # noqa: N802
        """The transposed matrix; lazy."""
        return self.transpose()

    def transpose(self, *axes: Any, copy: bool = False) -> OOMMatrix:
        """Exchange rows and columns; of a dense matrix, `axes` may leave them where they are; lazy."""
        if self.is_dense:
            if np.empty((1, 2)).transpose(*axes).shape == (1, 2):
                return self._matrix
        else:
            sparse.csr_array((1, 2)).transpose(*axes)  # which refuses what are no axes
        return engine().transpose(self._matrix) if self.transposed_of is None else self.transposed_of.copy()

    def _times(self, other: Held) -> Held:
        """Multiply by what has two dimensions and fits."""
        if self.transposed_of is not None:
            # sums over rows are dense, which many columns of a sparse matrix, such as a graph of cells, are not worth
            if sparse.issparse(other) and 8 * self.shape[0] * other.shape[1] > self.nbytes_in_memory:
                return run_in_memory(lambda values: values @ other, "X.T @ S", self)
            return engine().left_product(self.transposed_of, other)
        return engine().right_product(self._matrix, other)

    def _with_undefined(self, product: Values, factors: Values) -> Values:
        """Make NaN what zeros of a dense matrix take part in with NaN or infinities, which products pass over."""
        undefined = (~np.isfinite(factors)).astype(np.float64)
        stored: Any = self._matrix != 0
        met = stored._times(undefined)
        return np.where(met < undefined.sum(axis=0), np.nan, product)


def _of_kind(product: sparse.spmatrix, left: sparse.spmatrix) -> sparse.csr_matrix:
    """Return a product as SciPy holds it, which goes by what stands on the left."""
    if isinstance(left, sparse.sparray):
        return sparse.csc_array(product) if left.format == "csc" else sparse.csr_array(product)
    return sparse.csc_matrix(product) if left.format == "csc" else sparse.csr_matrix(product)


def _is_diagonal(other: Any) -> bool:
    """Return whether a product scales rows or columns, which is lazy (``scipy.sparse.diags(v) @ X``)."""
    square = sparse.issparse(other) and other.format == "dia" and other.shape[0] == other.shape[1]
    return square and not other.offsets.any()


def _check(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    if left[-1] != right[0] or len(right) > 2:
        msg = f"dimension mismatch: shapes {left} and {right} do not fit."
        raise ValueError(msg)
