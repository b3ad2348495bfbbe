"""Interrupts at any moment, as by Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

__all__ = ["CAN_INTERRUPT", "interrupted"]

CAN_INTERRUPT = hasattr(signal, "setitimer")


def interrupted(call: Callable[[], object], check: Callable[[], None] = lambda: None) -> None:
    """Interrupt calls that are made again and again, some thousand times, each at another moment.

    Parameters
    ----------
    call
        What is called.
    check
        Asserts, after each interrupt, that all is as it was.
    """
    n, end = 0, time.monotonic() + 0.5
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while time.monotonic() < end:
            try:
                _call_until_interrupted(call)
            except KeyboardInterrupt:
                n += 1
            check()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert n > 100


def _call_until_interrupted(call: Callable[[], object]) -> None:
    """Be apart, since Python 3.13 lets an interrupt out of a `try` where a loop in it begins anew."""
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    lost = time.monotonic() + 0.1  # one that came in a finalizer, where Python drops it
    while time.monotonic() < lost:
        call()
