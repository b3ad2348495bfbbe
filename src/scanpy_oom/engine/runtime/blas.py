"""BLAS within passes: one thread each, since the workers are many."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import threadpoolctl
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
_users = 0
_limits: threadpool_limits | None = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread until the last of those who asked for it is done: the limit is that of the process."""
    global _users, _limits  # noqa: PLW0603
    with _lock:
        if _users == 0:
            _let_go()
            _limits = threadpool_limits(1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _limits is not None:
                _let_go()
                _limits.restore_original_limits()
                _limits = None
                _let_go()


def _let_go() -> None:
    """Have no thread in control of OpenBLAS: threadpoolctl 3.8 obeys the first that sets a limit alone."""
    controller: Any = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)
