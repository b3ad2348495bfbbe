"""Errors that users meet, each naming the value at fault and the way out."""

from __future__ import annotations

from typing import Any

__all__ = [
    "CorruptFileError",
    "DeviceError",
    "MemoryBudgetExceeded",
    "NotAnH5adError",
    "OOMError",
    "UnsupportedOutOfMemory",
]


class OOMError(Exception):
    """Base of all errors raised by this package."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Said here for tblib, by which Dask sends errors: it cannot make one of two bases unless the class has its own.
        return super().__reduce__()


class UnsupportedOutOfMemory(OOMError):  # noqa: N818
    """An override does not cover these arguments.

    Raised by overrides alone. The dispatcher answers it by running scanpy's own function on data
    brought into memory within the budget, or by raising :class:`MemoryBudgetExceeded`.

    Parameters
    ----------
    reason
        What is not covered, as a phrase that completes "is not done out of memory: ...".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MemoryBudgetExceeded(OOMError, MemoryError):  # noqa: N818
    """Something would have to become an in-memory matrix larger than ``settings.memory_limit``."""


class CorruptFileError(OOMError, ValueError):
    """A file is truncated, changed while in use, or holds impossible values."""


class NotAnH5adError(OOMError, ValueError, OSError):
    """A path that was to be an h5ad file is something else."""


class DeviceError(OOMError):
    """There is no GPU that can be used, or its memory does not hold what a pass takes."""
