"""Functions of scikit-learn and SciPy for sparse matrices: streamed, or on values in memory, within one limit.

A matrix out of memory is of SciPy's class, and they take it as they are: whoever has imported one before a file was
opened has the same results. What is here saves memory. Statistics by column would bring all arrays into memory,
estimators want arrays that can be written to, and what joins matrices holds all of them at once. What works in place
would write to arrays that a matrix on disk does not have.

Each takes their own function first, and then its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ...matrix import OOMMatrix
from ...matrix.methods.in_memory import run_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..arguments import Function

__all__ = ["check_array", "count_nonzero", "in_place", "joined", "mean_variance_axis", "min_max_axis"]


def _in_memory(function: Function, x: OOMMatrix, *args: object, **kwargs: object) -> object:
    return run_in_memory(lambda values: function(values, *args, **kwargs), function.__name__, x)


def _vector(found: np.ndarray | sparse.coo_matrix) -> np.ndarray:
    return np.ravel(found if isinstance(found, np.ndarray) else found.toarray())


def mean_variance_axis(
    function: Function, X: OOMMatrix, axis: int, weights: object = None, *, return_sum_weights: bool = False
) -> object:
    """Means and variances along an axis; in two passes, where there are neither weights nor NaN, which are left out."""
    if axis not in {0, 1} or weights is not None or return_sum_weights:
        return _in_memory(function, X, axis, weights=weights, return_sum_weights=return_sum_weights)
    dtype = X.dtype if X.dtype.kind == "f" and X.dtype.itemsize >= 4 else np.dtype(np.float64)
    mean, variance = (_vector(statistic(axis=axis)).astype(dtype) for statistic in (X.mean, X.var))
    return _in_memory(function, X, axis) if np.isnan(mean).any() else (mean, variance)


def min_max_axis(function: Function, X: OOMMatrix, axis: int | None, *, ignore_nan: bool = False) -> object:
    """Smallest and largest values along an axis; streamed, unless NaN are left out."""
    if axis not in {0, 1} or ignore_nan:
        return _in_memory(function, X, axis, ignore_nan=ignore_nan)
    return _vector(X.min(axis=axis)), _vector(X.max(axis=axis))


def count_nonzero(function: Function, X: OOMMatrix, axis: int | None = None, sample_weight: object = None) -> object:
    """Numbers of stored values along an axis, or in all; streamed, unless rows have weights."""
    if X.is_dense or X.format != "csr":
        return function(X, axis=axis, sample_weight=sample_weight)  # which says that it takes none but CSR
    if sample_weight is not None or axis not in {None, 0, 1}:
        return _in_memory(function, X, axis=axis, sample_weight=sample_weight)
    return X.nnz if axis is None else X.getnnz(axis=axis).astype(np.intp, copy=False)


def check_array(function: Function, array: OOMMatrix, *args: object, **kwargs: object) -> object:
    """Check what an estimator is given: sparse values, as they are in memory, where it takes these.

    Compiled code of estimators wants arrays that can be written to, also where it only reads them, and some write.
    """
    accepts_sparse = args[0] if args else kwargs.get("accept_sparse")
    if array.is_dense or not accepts_sparse:
        return function(array, *args, **kwargs)
    return _in_memory(function, array, *args, **kwargs)


def in_place(function: Function, X: OOMMatrix, *args: object, **kwargs: object) -> object:
    """Run what changes a matrix in place, with ``copy=False`` where there is this choice: in memory, and keep it so."""
    if kwargs.get("copy", not function.__name__.startswith("inplace_")):
        return function(X, *args, **kwargs)
    found: list[object] = []

    def change(values: object) -> None:
        result = function(values, *args, **kwargs)
        shared = result is not None and np.shares_memory(_stored(result), _stored(values))
        found.append(X if shared else result)

    X.change_in_memory(change, function.__name__)
    return found[0]


def _stored(values: Any) -> np.ndarray:
    return values.data if sparse.issparse(values) else values


def joined(function: Function, blocks: Iterable[object], *args: object, **kwargs: object) -> object:
    """Join matrices, in lists or lists of lists as SciPy takes them, in memory, if they fit there all together."""
    matrices = list(_matrices(blocks))

    def join(*values: object) -> object:
        held = iter(values)
        return function(_with_values(blocks, held), *args, **kwargs)

    return run_in_memory(join, f"scipy.sparse.{function.__name__}", *matrices)


def _matrices(blocks: Iterable[object]) -> Iterator[OOMMatrix]:
    for block in blocks:
        if isinstance(block, list | tuple):
            yield from _matrices(block)
        elif isinstance(block, OOMMatrix):
            yield block


def _with_values(blocks: Iterable[object], values: Iterator[object]) -> list[object]:
    """Return the blocks, with values in memory for those that are out of memory, one after the other."""
    return [
        _with_values(block, values)
        if isinstance(block, list | tuple)
        else next(values)
        if isinstance(block, OOMMatrix)
        else block
        for block in blocks
    ]
