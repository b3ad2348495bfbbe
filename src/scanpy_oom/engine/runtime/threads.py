"""Work that is done in parts, by as many threads as the settings say."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ...settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    Loop = Callable[[Callable[[int, int], object], int], None]

    T = TypeVar("T")
    R = TypeVar("R")

__all__ = ["in_threads", "loops"]

WORTH = 1024
"""Vertices below which handing them to other threads takes longer than looking at them."""

PARTS = 4
"""Runs of vertices a thread: vertices differ in their edges, and threads in what else their core does."""


def in_threads(
    work: Callable[[T], R],
    tasks: Sequence[T],
    *,
    n_threads: int | None = None,
    stop: Event | None = None,
) -> list[R]:
    """Return what some work gives for each task, in order.

    The thread that calls does nothing itself: Ctrl-C while a compiled function returns arrays to the main thread ends
    in a `SystemError`, or in a crash.

    Parameters
    ----------
    work
        What is done.
    tasks
        What for.
    n_threads
        How many threads do it, those of the settings by default.
    stop
        What is set when one fails, or the caller is interrupted, before the others are waited for.
    """
    n_threads = max(min(n_threads or settings.n_threads, len(tasks)), 1)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="scanpy-oom") as pool:
        parts = [pool.submit(work, task) for task in tasks]
        try:
            ended, _ = wait(parts, return_when=FIRST_EXCEPTION)
            for part in ended:
                part.result()
        except BaseException:
            if stop is not None:
                stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [part.result() for part in parts]


@contextmanager
def loops() -> Iterator[Loop]:
    """Give a function that calls another one with runs of the numbers below `n`, by their first and last.

    What is called must do the same whichever runs it gets, and those of one loop at the same time.
    """
    n_threads = settings.n_threads
    with ThreadPoolExecutor(n_threads, thread_name_prefix="scanpy-oom") as pool:

        def loop(work: Callable[[int, int], object], n: int) -> None:
            if n_threads == 1 or n < WORTH:
                work(0, n)
                return
            size = -(-n // (PARTS * n_threads))
            for _ in pool.map(lambda first: work(first, min(first + size, n)), range(0, n, size)):
                pass

        yield loop
