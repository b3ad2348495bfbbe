"""Operands of elementwise operations, and the names of these in NumPy and SciPy."""

from __future__ import annotations

import operator
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .in_memory import InMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ...storage.abc import Values
    from .base import Held

__all__ = [
    "COMPARISONS",
    "OPERATORS",
    "OPERATOR_OF",
    "OPPOSITES",
    "SPARSE_METHODS",
    "apply",
    "holds_of_missing",
    "is_operand",
    "is_scalar",
    "of_held",
    "rounded",
    "vector_of",
]

OPERATORS = {
    "add": "add", "sub": "subtract", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
"""Python's binary operators that have a reflected form, and NumPy's names for them. `*` and `**` are apart."""

COMPARISONS = {
    "gt": "greater", "lt": "less", "ge": "greater_equal", "le": "less_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip

OPPOSITES = {"greater": "less_equal", "less": "greater_equal", "greater_equal": "less", "less_equal": "greater"}
"""Comparisons by order, and which ones hold where these do not."""

OPERATOR_OF = {getattr(np, ufunc): name for name, ufunc in (OPERATORS | COMPARISONS).items()}

SPARSE_METHODS = {"multiply", "power", "maximum", "minimum"}
"""Binary ufuncs that SciPy's sparse matrices have as methods; the others that they have are operators."""


@cache
def holds_of_missing() -> bool:
    """Return whether the installed SciPy has a comparison that holds of zeros hold of NaN: by the opposite one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool((sparse.csr_matrix([[np.nan]]) < 1)[0, 0])


def rounded(values: Any, decimals: int, out: Values | None) -> Held:
    """Round values in memory, as NumPy or SciPy does."""
    return round(values, decimals) if sparse.issparse(values) else values.round(decimals, out)


def is_scalar(value: Any) -> bool:
    """Return whether this is one number, of Python or NumPy."""
    return np.isscalar(value) or (np.ndim(value) == 0 and hasattr(value, "dtype"))


def is_operand(value: object) -> bool:
    """Return whether this is a number, an array, a matrix, or a list that NumPy would make an array of."""
    if isinstance(value, str) or value is None:
        return False
    return is_scalar(value) or hasattr(value, "__array__") or sparse.issparse(value) or isinstance(value, list | tuple)


def apply(ufunc: np.ufunc, values: Values, operand: object, *, reflected: bool) -> Values:
    """Call a ufunc of two operands, of which the second comes first where it is reflected."""
    return ufunc(operand, values) if reflected else ufunc(values, operand)


def vector_of(other: Any, shape: tuple[int, int]) -> tuple[NDArray[np.number] | None, int]:
    """Return one number a row or column, and of which axis; None if it is something else.

    Raises
    ------
    ValueError
        If it does not fit the shape.
    """
    if isinstance(other, InMemory) or np.broadcast_shapes(other.shape, shape) != shape:
        return None, 0
    n_rows, n_columns = shape
    of_columns = other.shape in {(n_columns,), (1, n_columns)}
    if not of_columns and other.shape != (n_rows, 1) and np.prod(other.shape) != 1:
        return None, 0
    values = np.asarray(other.toarray() if sparse.issparse(other) else other).flatten()  # which is its own
    if of_columns:
        return values, 1
    return (values, 0) if other.shape == (n_rows, 1) else (np.broadcast_to(values, n_columns), 1)


def of_held(ufunc: np.ufunc, *, sparse_too: bool) -> Callable[..., Held]:
    """Return what does in memory what a ufunc does; NumPy's own functions do not know SciPy's matrices."""
    name = ufunc.__name__
    if not sparse_too:
        return ufunc
    if name in SPARSE_METHODS:
        return lambda values, other: getattr(values, name)(other)
    return getattr(operator, OPERATOR_OF[ufunc])
