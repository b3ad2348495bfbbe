"""Registrations of :class:`OOMMatrix` with fast-array-utils, whose statistics scanpy and its users call.

Its functions choose by the type of what they are given, and know no matrices on disk yet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..oommatrix import OOMMatrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray


__all__ = ["HELPERS", "register"]


def _statistic(x: OOMMatrix, /, op: str, *, axis: int | None = None, dtype: object = None, **_: object) -> Any:
    """Return a sum, or smallest or largest values, as vectors; streamed."""
    found = getattr(x, op)(axis=axis, **({} if dtype is None else {"dtype": dtype}))
    dense = found.toarray() if sparse.issparse(found) else found
    return dense if axis is None else np.asarray(dense).ravel()


def _power(x: OOMMatrix, n: int, /, dtype: DTypeLike | None = None) -> OOMMatrix:
    """Raise to a power; lazy."""
    return np.power(x, n, dtype=dtype)


def _is_constant(x: OOMMatrix, /, *, axis: int | None = None) -> bool | NDArray[np.bool_]:
    """Return whether the values along an axis, or all, are equal; streamed."""
    equal = _statistic(x, "min", axis=axis) == _statistic(x, "max", axis=axis)
    return bool(equal) if axis is None else equal


def _to_dense(x: OOMMatrix, /, *, order: str = "K", to_cpu_memory: bool = False) -> NDArray[np.number | np.bool_]:
    """Bring all values into memory as an array."""
    by_columns = order == "F" or (order in {"K", "A"} and not x.is_dense and x.format == "csc")
    return x.toarray("F" if by_columns else "C")


_KNOWN: dict[str, Callable[..., object]] = {
    "stats._generic_ops.generic_op": _statistic,
    "stats._power._power": _power,
    "stats._is_constant.is_constant_": _is_constant,
    "conv._to_dense.to_dense_": _to_dense,
}
"""Generic functions below ``fast_array_utils``, and what they do for a matrix on disk."""

HELPERS = frozenset(f"fast_array_utils.{name.rpartition('.')[0]}" for name in _KNOWN)
"""The modules in which these are."""


def register() -> None:
    """Tell those of the functions that are loaded; again, where more have been loaded since."""
    for path, function in _KNOWN.items():
        module, _, name = path.rpartition(".")
        generic = getattr(sys.modules.get(f"fast_array_utils.{module}"), name, None)
        if generic is not None:
            generic.register(OOMMatrix, function)


register()
