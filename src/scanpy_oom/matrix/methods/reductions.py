"""Sums, means, variances, extremes and counts of a matrix that is not in memory, in the shape and type of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import sparse

from ..protocol import engine
from .base import Mixin
from .in_memory import run_in_memory, sparse_arrays

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ...storage.abc import Values
    from .base import Held

    Axes: TypeAlias = int | tuple[int, ...] | None

    Reduced: TypeAlias = np.number | np.bool_ | Values
    """A number, an array or a matrix of one row or column."""


__all__ = ["Reductions"]


def normalize_axis(axis: Any) -> int | None:
    """Return 0, 1 or None for an axis that there is, or for a tuple of axes."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    if axes in {(None,), ()}:
        return None
    distinct = {int(one) % 2 for one in axes}
    return None if len(distinct) == 2 else distinct.pop()


class Reductions(Mixin):
    """Reductions of an :class:`~scanpy_oom.matrix.OOMMatrix`.

    What is sparse in memory gives what SciPy's matrices give (one row or column, as a :class:`numpy.matrix`), what is
    dense what NumPy's arrays give.
    """

    def sum(
        self, axis: Axes = None, dtype: DTypeLike | None = None, out: Values | None = None, *, keepdims: bool = False
    ) -> Reduced:
        """Sum over an axis or over all."""
        axis = self._axis(axis)
        if dtype is not None and np.dtype(dtype).kind != "f" and self.dtype.kind == "f" and self._cuts_off(axis, dtype):
            return self._matrix.astype(dtype).sum(axis, dtype, out, keepdims=keepdims)
        return self._shown(self._sums(axis), axis, self._probe.sum(axis=0, dtype=dtype).dtype, out, keepdims=keepdims)

    def mean(
        self, axis: Axes = None, dtype: DTypeLike | None = None, out: Values | None = None, *, keepdims: bool = False
    ) -> Reduced:
        """Mean over an axis or over all."""
        axis = self._axis(axis)
        if not (self._n(axis) or self.is_dense):
            msg = "float division by zero: the mean of no values, of a sparse matrix"
            raise ZeroDivisionError(msg)
        with np.errstate(all="ignore"):
            means = self._sums(axis) / np.float64(self._n(axis))
        return self._shown(means, axis, self._mean_dtype(dtype), out, keepdims=keepdims)

    def var(
        self,
        axis: Axes = None,
        dtype: DTypeLike | None = None,
        out: Values | None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Reduced:
        """Variance over an axis or over all: squares of what differs from the mean, in double precision."""
        axis = self._axis(axis)
        with np.errstate(all="ignore"):
            squares = engine().squared_deviations(self._matrix, axis)
            variances = squares / np.float64(max(self._n(axis) - ddof, 0))
        return self._shown(variances, axis, self._mean_dtype(dtype), out, keepdims=keepdims)

    def std(
        self,
        axis: Axes = None,
        dtype: DTypeLike | None = None,
        out: Values | None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Reduced:
        """Standard deviation over an axis or over all."""
        found = np.sqrt(self.var(axis, np.float64, ddof=ddof, keepdims=keepdims))
        dtype = self._probe.mean(axis=0, dtype=dtype).dtype
        return _put(found.astype(dtype), out)

    def max(
        self, axis: Axes = None, out: Values | None = None, *, keepdims: bool = False, explicit: bool = False
    ) -> Reduced:
        """Largest values along an axis, or of all; of those that are stored alone (`explicit`), in memory."""
        return self._extreme("max", axis, out, keepdims=keepdims, explicit=explicit)

    def min(
        self, axis: Axes = None, out: Values | None = None, *, keepdims: bool = False, explicit: bool = False
    ) -> Reduced:
        """Smallest values along an axis, or of all; of those that are stored alone (`explicit`), in memory."""
        return self._extreme("min", axis, out, keepdims=keepdims, explicit=explicit)

    def any(self, axis: Axes = None, out: Values | None = None, *, keepdims: bool = False) -> Reduced:
        """Tell whether one of the values along an axis, or of all, is not zero."""
        axis = self._axis(axis)
        found = np.asarray(self._counts(axis) > 0)
        return self._shown(found, axis, np.dtype(bool), out, keepdims=keepdims, plain=True)

    def all(self, axis: Axes = None, out: Values | None = None, *, keepdims: bool = False) -> Reduced:
        """Tell whether none of the values along an axis, or of all, is zero."""
        axis = self._axis(axis)
        found = np.asarray(self._counts(axis) == self._n(axis))
        return self._shown(found, axis, np.dtype(bool), out, keepdims=keepdims, plain=True)

    def count_nonzero(self, axis: Axes = None) -> Reduced:
        """Count values that are not zero, over all or along an axis."""
        axis = self._axis(axis)
        counts = self._counts(axis)
        return counts if axis is None else counts.astype(self._count_dtype(axis, counts))

    def getnnz(self, axis: Axes = None) -> Any:
        """Number of stored values, over all or along an axis."""
        axis, matrix = self._axis(axis), self._matrix
        if axis is None:
            return matrix.nnz
        if self.is_dense or matrix.chain.fill_values is not None or matrix.chain.drops_zeros:
            return self.count_nonzero(axis)
        counts = engine().stored_counts(matrix, axis)  # zeros may be stored, too
        return counts.astype(self._count_dtype(axis, counts))

    def _extreme(self, name: str, axis: Axes, out: Values | None, *, keepdims: bool, explicit: bool) -> Reduced:
        if explicit:  # which NumPy's arrays do not know
            call = f"X.{name}(explicit=True)"
            return run_in_memory(lambda values: getattr(values, name)(axis, out, explicit=True), call, self)
        axis = self._axis(axis)
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
    def _probe(self) -> Held:
        """A matrix of the same kind, which tells dtypes."""
        zeros = np.zeros((1, 1), self.dtype)
        return zeros if self.is_dense or self.dtype == np.float16 else sparse.csr_matrix(zeros)

    def _axis(self, axis: Axes) -> int | None:
        """Return 0, 1 or None for an axis, or for a tuple of axes; what is no axis is refused as in memory."""
        self._probe.sum(axis=axis)
        return normalize_axis(axis)

    def _cuts_off(self, axis: int | None, dtype: DTypeLike) -> bool:
        """Return whether each value is cut off before it is added to the others: SciPy's versions differ in that."""
        halves = np.full((2, 2), 0.5, self.dtype)
        kind = np.asarray if isinstance(self._probe, np.ndarray) else sparse.csr_matrix
        return not np.any(kind(halves).sum(axis=axis, dtype=dtype))

    def _mean_dtype(self, dtype: DTypeLike | None) -> np.dtype:
        return self._probe.mean(axis=0, dtype=dtype).dtype

    def _n(self, axis: int | None) -> int:
        return int(np.prod(self.shape)) if axis is None else self.shape[axis]

    def _known(self, row: str, column: str, axis: int | None) -> Any:
        name = row if axis == 1 else column
        found = engine().statistics(self._matrix, name).known[name]
        return found.sum() if axis is None else found

    def _sums(self, axis: int | None) -> np.float64 | NDArray[np.float64]:
        return self._known("row_sum", "col_sum", axis)

    def _counts(self, axis: int | None) -> np.int64 | NDArray[np.int64]:
        return self._known("row_nnz", "col_nnz", axis)

    def _count_dtype(self, axis: int, counts: np.int64 | NDArray[np.int64]) -> np.dtype:
        """Return the dtype of SciPy's counts: that of indices along the rows, that of `bincount` along the columns."""
        along = axis == (0 if self._matrix.format == "csc" else 1)
        return np.dtype(np.int32 if along and counts.sum() <= np.iinfo(np.int32).max else np.int64)

    def _shown(
        self,
        values: object,
        axis: int | None,
        dtype: np.dtype,
        out: Values | None,
        *,
        keepdims: bool,
        plain: bool = False,
    ) -> Reduced:
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


def _put(values: Reduced, out: Values | None) -> Reduced:
    if out is None:
        return values
    if out.shape != np.shape(values):
        msg = f"output array has shape {out.shape}, and the result {np.shape(values)}"
        raise ValueError(msg)
    out[...] = values
    return out
