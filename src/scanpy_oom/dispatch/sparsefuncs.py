"""Functions of scikit-learn and SciPy for sparse matrices, which know SciPy's alone: streamed, or on values in memory.

Each takes their own function first, and then its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..matrix import OOMMatrix
from ..matrix.fallback import run_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["check_array", "count_nonzero", "joined", "mean_variance_axis", "min_max_axis", "norm"]


def _in_memory(function: Callable[..., Any], x: OOMMatrix, *args: Any, **kwargs: Any) -> Any:
    return run_in_memory(lambda values: function(values, *args, **kwargs), function.__name__, x)


def _vector(found: Any) -> NDArray[Any]:
    return np.ravel(found.toarray() if hasattr(found, "toarray") else found)


def mean_variance_axis(
    function: Callable[..., Any], X: OOMMatrix, axis: int, weights: Any = None, *, return_sum_weights: bool = False
) -> Any:
    """Means and variances along an axis; in two passes, where there are neither weights nor NaN, which are left out."""
    if axis not in {0, 1} or weights is not None or return_sum_weights:
        return _in_memory(function, X, axis, weights=weights, return_sum_weights=return_sum_weights)
    dtype = X.dtype if X.dtype.kind == "f" and X.dtype.itemsize >= 4 else np.dtype(np.float64)
    mean, variance = (_vector(statistic(axis=axis)).astype(dtype) for statistic in (X.mean, X.var))
    return _in_memory(function, X, axis) if np.isnan(mean).any() else (mean, variance)


def min_max_axis(function: Callable[..., Any], X: OOMMatrix, axis: int | None, *, ignore_nan: bool = False) -> Any:
    """Smallest and largest values along an axis; streamed, unless NaN are left out."""
    if axis not in {0, 1} or ignore_nan:
        return _in_memory(function, X, axis, ignore_nan=ignore_nan)
    return _vector(X.min(axis=axis)), _vector(X.max(axis=axis))


def count_nonzero(
    function: Callable[..., Any], X: OOMMatrix, axis: int | None = None, sample_weight: Any = None
) -> Any:
    """Numbers of stored values along an axis, or in all; streamed, unless rows have weights."""
    if sample_weight is not None or axis not in {None, 0, 1}:
        return _in_memory(function, X, axis=axis, sample_weight=sample_weight)
    return X.nnz if axis is None else X.getnnz(axis=axis).astype(np.intp, copy=False)


def check_array(function: Callable[..., Any], array: OOMMatrix, *args: Any, **kwargs: Any) -> Any:
    """Check what an estimator is given: sparse values, as they are in memory, where it takes these."""
    accepts_sparse = args[0] if args else kwargs.get("accept_sparse")
    if array.is_dense or not accepts_sparse:
        return function(array, *args, **kwargs)
    return _in_memory(function, array, *args, **kwargs)


def norm(function: Callable[..., Any], x: OOMMatrix, *args: Any, **kwargs: Any) -> Any:
    """Norm of a matrix, in memory."""
    return _in_memory(function, x, *args, **kwargs)


def joined(function: Callable[..., Any], blocks: Any, *args: Any, **kwargs: Any) -> Any:
    """Join matrices, in lists or lists of lists as SciPy takes them, in memory."""
    matrices = list(_matrices(blocks))

    def join(*values: Any) -> Any:
        held = iter(values)
        return function(_with_values(blocks, held), *args, **kwargs)

    return run_in_memory(join, f"scipy.sparse.{function.__name__}", *matrices)


def _matrices(blocks: Any) -> Iterator[OOMMatrix]:
    for block in blocks:
        if isinstance(block, list | tuple):
            yield from _matrices(block)
        elif isinstance(block, OOMMatrix):
            yield block


def _with_values(blocks: Any, values: Iterator[Any]) -> list[Any]:
    """Return the blocks, with values in memory for those that are out of memory, one after the other."""
    return [
        _with_values(block, values)
        if isinstance(block, list | tuple)
        else next(values)
        if isinstance(block, OOMMatrix)
        else block
        for block in blocks
    ]
