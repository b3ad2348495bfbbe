"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["return_freed_memory"]


def return_freed_memory() -> None:
    """Have the C library give back what was freed, where it would keep it.

    glibc keeps for each thread what arrays of less than some megabytes leave behind, up to a third of what a process
    has after passes on several threads. It takes a millisecond to give that back, which is little beside a pass.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """`malloc_trim` of glibc; None where there is another C library."""
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
