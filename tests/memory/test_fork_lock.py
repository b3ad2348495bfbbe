from __future__ import annotations

import os
import threading

import pytest

from scanpy_oom.memory.fork_lock import fork_safe_lock

from ..interrupts import CAN_INTERRUPT, interrupted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_child_finds_lock_open_that_parent_held(reentrant):
    lock = fork_safe_lock(reentrant=reentrant)
    child = -1
    with lock:
        child = os.fork()
        if child == 0:
            free = is_free(lock)
            os._exit(7 if free else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert is_free(lock)


@pytest.mark.skipif(not CAN_INTERRUPT, reason="needs timers that interrupt")
@pytest.mark.parametrize("reentrant", [False, True])
def test_no_interrupt_leaves_a_lock_held(reentrant):
    lock = fork_safe_lock(reentrant=reentrant)

    def hold() -> None:
        with lock:
            pass

    def check() -> None:
        assert is_free(lock)

    interrupted(hold, check)


def is_free(lock) -> bool:
    """Whether another thread gets it."""
    found = []

    def ask() -> None:
        found.append(lock.acquire(timeout=1))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]
