"""The classes of SciPy that matrices out of memory belong to, so that whoever asks for these takes them.

A sparse matrix is of a subclass of the class that anndata gives in memory. What :class:`OOMMatrix` has no method for is
SciPy's method, on the values in memory: within the budget, and announced.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from scipy import sparse

from .methods.in_memory import run_in_memory
from .oommatrix import KINDS, OOMMatrix

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

__all__ = ["KINDS", "OOMCSCArray", "OOMCSCMatrix", "OOMCSRArray", "OOMCSRMatrix"]

_CHANGE = {"resize", "set_shape"}
"""Methods that change a matrix in place, but no values."""

_KEPT = {"__init__", "__new__", "__class_getitem__", "__init_subclass__", "__subclasshook__"}


def _in_memory(name: str, function: Callable[..., T]) -> Callable[..., T]:
    """Return a method that is SciPy's, on the values in memory."""

    @wraps(function)
    def method(self: OOMMatrix, *args: object, **kwargs: object) -> T:
        def call(*operands: object) -> T:
            return getattr(operands[0], name)(*operands[1:], **kwargs)

        return run_in_memory(call, f"X.{name}", self, *args)

    return method


def _resized(name: str) -> Callable[..., None]:
    def method(self: OOMMatrix, *args: object) -> None:
        self.change_in_memory(lambda values: getattr(values, name)(*args), f"X.{name}")

    method.__name__ = name
    return method


def _property(name: str, found: property) -> property:
    return property(
        lambda self: run_in_memory(lambda values: getattr(values, name), f"X.{name}", self), doc=found.__doc__
    )


def _shape(matrix: OOMMatrix) -> tuple[int, int]:
    """Return the shape, where functions of SciPy look for it."""
    return matrix.shape


def _completed(kind: type) -> dict[str, object]:
    """Return what of a class of SciPy an :class:`OOMMatrix` lacks."""
    own = {name for base in OOMMatrix.__mro__[:-1] if base.__module__.startswith("scanpy_oom") for name in vars(base)}
    members: dict[str, object] = {}
    for base in kind.__mro__[:-1]:
        for name, member in vars(base).items():
            if name in own or name in members or name in _KEPT:
                continue
            if name in _CHANGE:
                members[name] = _resized(name)
            elif inspect.isfunction(member):
                members[name] = _in_memory(name, member)
            elif isinstance(member, property) and not name.startswith("_"):
                members[name] = _property(name, member)
    return members


class OOMCSRMatrix(OOMMatrix, sparse.csr_matrix):
    """An :class:`OOMMatrix` that is a `scipy.sparse.csr_matrix`, for those who ask."""


class OOMCSCMatrix(OOMMatrix, sparse.csc_matrix):
    """An :class:`OOMMatrix` that is a `scipy.sparse.csc_matrix`, for those who ask."""


class OOMCSRArray(OOMMatrix, sparse.csr_array):
    """An :class:`OOMMatrix` that is a `scipy.sparse.csr_array`, for those who ask."""


class OOMCSCArray(OOMMatrix, sparse.csc_array):
    """An :class:`OOMMatrix` that is a `scipy.sparse.csc_array`, for those who ask."""


KINDS.update(
    {("csr", False): OOMCSRMatrix, ("csc", False): OOMCSCMatrix, ("csr", True): OOMCSRArray, ("csc", True): OOMCSCArray}
)
for _kind in KINDS.values():
    _scipys = next(base for base in _kind.__mro__ if base.__module__.startswith("scipy."))
    for _name, _member in _completed(_scipys).items():
        setattr(_kind, _name, _member)
    _kind._shape = property(_shape)
