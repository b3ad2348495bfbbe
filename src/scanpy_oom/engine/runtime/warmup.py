"""Preparations before the first pass of a process."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ...kernels import is_increasing
from ...memory.fork_lock import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["make_ready"]

_lock = fork_safe_lock()


def make_ready() -> None:
    """Have numba load what it takes to run kernels, if it has not."""
    with _lock:
        _load()


@cache
def _load() -> None:
    """Run a kernel, and have the garbage collector take no notice.

    The first kernel of a process makes numba create some hundred thousand objects that stay. Because of so many new
    ones the collector would look at every object of the process, which takes as long as to create them, and would
    happen in one thread of the pass while the others wait.
    """
    with _unnoticed_by_collector():
        is_increasing(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))


@contextmanager
def _unnoticed_by_collector() -> Iterator[None]:
    """Count what is created within the context among the old objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # what others have frozen is not ours to thaw
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
