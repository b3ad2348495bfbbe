"""CuPy's part that :mod:`scanpy_oom.engine.device.cuda` uses, on NumPy's arrays.

It stands for a card in what can be got wrong without one: which memory may be touched when. Copies from and to pinned
memory happen when something waits for them and not before, so that what is read or reused too early is wrong.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
from scipy import sparse

__all__ = ["StandIn"]


class Array(np.ndarray):
    """An array on the device."""

    def set(self, array, stream=None):
        stream.do(lambda: np.copyto(self, array))

    def get(self, stream=None, out=None, blocking=True):
        source = self.copy()
        out[...] = np.zeros((), dtype=out.dtype)
        stream.do(lambda: np.copyto(out, source))
        return out


class Event:
    def __init__(self, stream):
        self._stream = stream

    def synchronize(self):
        self._stream.synchronize()


class Stream:
    """Keeps what is to be done until somebody waits."""

    def __init__(self, non_blocking=False):
        assert non_blocking
        self._waiting = []

    def do(self, what):
        self._waiting.append(what)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def record(self):
        return Event(self)

    def wait_event(self, event):
        event.synchronize()  # what follows is done at once here

    def synchronize(self):
        waiting, self._waiting = self._waiting, []
        for what in waiting:
            what()


class Pool:
    """Counts nothing, refuses nothing."""

    def __init__(self):
        self.limit = None

    def set_limit(self, size):
        self.limit = size

    def malloc(self, size):
        return bytearray(size)

    def free_all_blocks(self, stream=None):
        self.freed = True


class StandIn:
    """The package; what is not here is NumPy's.

    Parameters
    ----------
    driver, needed
        Versions of CUDA, as CUDA counts them.
    count
        Number of cards.
    free
        Bytes that the card has free.
    error
        What asking for the cards raises.
    """

    def __init__(self, driver=13000, needed=13020, count=1, free=10**10, error=None):
        def get_count():
            if error is not None:
                raise error
            return count

        runtime = SimpleNamespace(
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: needed,
            getDeviceCount=get_count,
            getDeviceProperties=lambda _: {"name": b"Stand-in"},
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            Device=lambda: SimpleNamespace(mem_info=(free, 2 * 10**10), id=0),
            compiler=SimpleNamespace(CompileException=type("CompileException", (Exception,), {})),
            MemoryPool=Pool,
            PinnedMemoryPool=Pool,
            Stream=Stream,
            using_allocator=lambda _: nullcontext(),
        )
        self.sparse = sparse

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype):
        return np.full(shape, 77, dtype=dtype).view(Array)

    def asarray(self, array):
        return np.asarray(array).view(Array)
