"""Locks that survive a fork, and an interrupt."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["fork_safe_lock"]


def fork_safe_lock(*, reentrant: bool = False) -> AbstractContextManager[object]:
    """Return a mutual exclusion lock that a forked child finds open.

    A thread that held the lock in the parent does not exist in the child and could never release it there.

    It is one of Python's own: these are entered and left in one step of the interpreter. Ctrl-C could come in between
    in a class of ours, and leave the lock held for good.

    Parameters
    ----------
    reentrant
        Whether the thread that holds it may acquire it again.
    """
    lock = threading.RLock() if reentrant else threading.Lock()
    _locks.add(lock)
    return lock


_locks: WeakSet[Any] = WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # as Python's own modules renew theirs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
