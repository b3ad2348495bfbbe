"""What is done once a process, before its first pass."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..io.locks import ForkSafeLock
from ..kernels import is_increasing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["make_ready"]

_lock = ForkSafeLock()


def make_ready() -> None:
    """Have numba load what it takes to run kernels, if it has not."""
    with _lock:
        _load()


@cache
def _load() -> None:
    """Run a kernel, without the garbage collector.

    The first kernel of a process makes numba create some hundred thousand objects that stay. They make the collector
    look at every object of the process again and again, which takes as long as to create them, and would happen in one
    thread of a pass while the others wait.
    """
    with _no_collection():
        is_increasing(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))


@contextmanager
def _no_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
