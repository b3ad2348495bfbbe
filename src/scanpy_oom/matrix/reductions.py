"""Sums, means, variances, extremes and counts of a matrix that is not in memory, in the shape and type of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .engine import engine
from .fallback import sparse_arrays
from .mixin import Mixin

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


__all__ = ["Reductions"]


def normalize_axis(axis: Any) -> int | None:
    """Return 0, 1 or None for an axis, or for a tuple of axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If there is no such axis.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    if axes in {(None,), ()}:
        return None
    for one in axes:
        if not -2 <= one < 2:
            raise np.exceptions.AxisError(one, 2)
    distinct = {int(one) % 2 for one in axes}
    return None if len(distinct) == 2 else distinct.pop()


class Reductions(Mixin):
    """Reductions of an :class:`~scanpy_oom.matrix.OOMMatrix`.

    What is sparse in memory gives what SciPy's matrices give (one row or column, as a :class:`numpy.matrix`), what is
    dense what NumPy's arrays give.
    """

    def sum(
        self,
        axis: Any = None,
        dtype: DTypeLike | None = None,
        out: NDArray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Sum over an axis or over all."""
        axis = normalize_axis(axis)
        if dtype is not None and np.dtype(dtype).kind != "f" and self.dtype.kind == "f":
            return self._matrix.astype(dtype).sum(axis, dtype, out, keepdims=keepdims)  # each value is cut off
        return self._shown(self._sums(axis), axis, self._probe.sum(axis=0, dtype=dtype).dtype, out, keepdims=keepdims)

    def mean(
        self,
        axis: Any = None,
        dtype: DTypeLike | None = None,
        out: NDArray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Mean over an axis or over all."""
        axis = normalize_axis(axis)
        with np.errstate(all="ignore"):
            means = self._sums(axis) / np.float64(self._n(axis))
        return self._shown(means, axis, self._mean_dtype(dtype), out, keepdims=keepdims)

    def var(
        self,
        axis: Any = None,
        dtype: DTypeLike | None = None,
        out: NDArray | None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Variance over an axis or over all: squares of what differs from the mean, in double precision."""
        axis = normalize_axis(axis)
        with np.errstate(all="ignore"):
            squares = engine().squared_deviations(self._matrix, axis)
            variances = squares / np.float64(max(self._n(axis) - ddof, 0))
        return self._shown(variances, axis, self._mean_dtype(dtype), out, keepdims=keepdims)

    def std(
        self,
        axis: Any = None,
        dtype: DTypeLike | None = None,
        out: NDArray | None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Standard deviation over an axis or over all."""
        found = np.sqrt(self.var(axis, np.float64, ddof=ddof, keepdims=keepdims))
        dtype = self._probe.mean(axis=0, dtype=dtype).dtype
        return _put(found.astype(dtype), out)

    def max(self, axis: Any = None, out: NDArray | None = None, *, keepdims: bool = False) -> Any:
        """Largest values along an axis, or of all."""
        return self._extreme("max", axis, out, keepdims=keepdims)

    def min(self, axis: Any = None, out: NDArray | None = None, *, keepdims: bool = False) -> Any:
        """Smallest values along an axis, or of all."""
        return self._extreme("min", axis, out, keepdims=keepdims)

    def any(self, axis: Any = None, out: NDArray | None = None, *, keepdims: bool = False) -> Any:
        """Whether values along an axis, or of all, are not zero: whether one is."""
        axis = normalize_axis(axis)
        found = np.asarray(self._counts(axis) > 0)
        return self._shown(found, axis, np.dtype(bool), out, keepdims=keepdims, plain=True)

    def all(self, axis: Any = None, out: NDArray | None = None, *, keepdims: bool = False) -> Any:
        """Whether values along an axis, or of all, are not zero: whether all are."""
        axis = normalize_axis(axis)
        found = np.asarray(self._counts(axis) == self._n(axis))
        return self._shown(found, axis, np.dtype(bool), out, keepdims=keepdims, plain=True)

    def count_nonzero(self, axis: Any = None) -> Any:
        """Count values that are not zero, over all or along an axis."""
        axis = normalize_axis(axis)
        counts = self._counts(axis)
        return counts if axis is None else counts.astype(self._count_dtype(axis, counts))

    def getnnz(self, axis: Any = None) -> Any:
        """Number of stored values, over all or along an axis."""
        axis, matrix = normalize_axis(axis), self._matrix
        if axis is None:
            return matrix.nnz
        if self.is_dense or matrix.chain.background is not None or matrix.chain.drops_zeros:
            return self.count_nonzero(axis)
        counts = engine().stored_counts(matrix, axis)  # zeros may be stored, too
        return counts.astype(self._count_dtype(axis, counts))

    def _extreme(self, name: str, axis: Any, out: NDArray | None, *, keepdims: bool) -> Any:
        axis = normalize_axis(axis)
        if 0 in (self.shape if axis is None else (self.shape[axis],)):
            msg = f"zero-size array to reduction operation {name}imum which has no identity"
            raise ValueError(msg)
        if axis is None:
            extrema = engine().extrema(self._matrix)
            found = np.asarray(extrema.maximum if name == "max" else extrema.minimum)
            return self._shown(found, None, self.dtype, out, keepdims=keepdims)
        values = engine().axis_extrema(self._matrix, axis)[int(name == "max")].astype(self.dtype)
        if self.is_dense:
            return self._shown(values, axis, self.dtype, out, keepdims=keepdims)
        if sparse_arrays(self._matrix):
            return sparse.coo_array(values)
        return sparse.coo_matrix(values[None, :] if axis == 0 else values[:, None])

    # -- how it is found, and shown

    @property
    def _probe(self) -> Any:
        """A matrix of the same kind, which tells dtypes."""
        zeros = np.zeros((1, 1), self.dtype)
        return zeros if self.is_dense or self.dtype == np.float16 else sparse.csr_matrix(zeros)

    def _mean_dtype(self, dtype: DTypeLike | None) -> np.dtype:
        return self._probe.mean(axis=0, dtype=dtype).dtype

    def _n(self, axis: int | None) -> int:
        return int(np.prod(self.shape)) if axis is None else self.shape[axis]

    def _known(self, row: str, column: str, axis: int | None) -> Any:
        name = row if axis == 1 else column
        found = engine().statistics(self._matrix, name).known[name]
        return found.sum() if axis is None else found

    def _sums(self, axis: int | None) -> Any:
        return self._known("row_sum", "col_sum", axis)

    def _counts(self, axis: int | None) -> Any:
        return self._known("row_nnz", "col_nnz", axis)

    def _count_dtype(self, axis: int, counts: NDArray[np.integer]) -> np.dtype:
        """Return the dtype of SciPy's counts: that of indices along the rows, that of `bincount` along the columns."""
        along = axis == (0 if self._matrix.format == "csc" else 1)
        return np.dtype(np.int32 if along and counts.sum() <= np.iinfo(np.int32).max else np.int64)

    def _shown(
        self,
        values: Any,
        axis: int | None,
        dtype: np.dtype,
        out: NDArray | None,
        *,
        keepdims: bool,
        plain: bool = False,
    ) -> Any:
        """Return results in the shape and type in which they are given in memory."""
        values = np.asarray(values)
        with np.errstate(all="ignore"):
            values = values.astype(dtype)
        as_matrix = not (plain or self.is_dense or sparse_arrays(self._matrix))
        if axis is None:
            return _put(values.reshape(1, 1) if keepdims else values[()], out)
        if not (as_matrix or keepdims):
            return _put(values, out)
        two_dimensional = np.expand_dims(values, axis)
        return _put(two_dimensional.view(np.matrix) if as_matrix else two_dimensional, out)


def _put(values: Any, out: NDArray | None) -> Any:
    if out is None:
        return values
    if out.shape != np.shape(values):
        msg = f"output array has shape {out.shape}, and the result {np.shape(values)}"
        raise ValueError(msg)
    out[...] = values
    return out
