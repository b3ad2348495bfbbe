"""Bringing a matrix into memory where that was asked for: it is measured, listed in the report, and remembered."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..oommatrix import OOMMatrix

    T = TypeVar("T")

__all__ = ["Made", "materialised"]

_WATCHER = "scanpy_oom.dispatch.telemetry.materialized"
"""The module that measures it, which stands above: named, not imported."""


class Made(Protocol):
    """Takes what was made, and returns it."""

    def __call__(self, values: T, /) -> T:
        """Remember where these values came from."""


def materialised(operation: str, matrix: OOMMatrix) -> AbstractContextManager[Made]:
    """Measure what brings a matrix into memory, for the time of a context.

    Parameters
    ----------
    operation
        What was asked for, as in ``"X.toarray"``.
    matrix
        The matrix.

    Returns
    -------
    A context, within which the values are handed to what it gives.
    """
    watched: AbstractContextManager[Made] = importlib.import_module(_WATCHER).watched(operation, matrix)
    return watched
