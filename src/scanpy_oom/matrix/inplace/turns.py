"""Changes of matrices, one at a time: several threads may write to one, each to its own places, as to an array."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ...memory.fork_lock import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["one_at_a_time"]

P = ParamSpec("P")
R = TypeVar("R")

_lock = fork_safe_lock(reentrant=True)


def one_at_a_time(change: Callable[P, R]) -> Callable[P, R]:
    """Have a method read what a matrix is and give it another state with no other change in between."""

    @wraps(change)
    def method(*args: P.args, **kwargs: P.kwargs) -> R:
        with _lock:
            return change(*args, **kwargs)

    return method
