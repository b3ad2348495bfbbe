"""Loops over vertices on all threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Loop = Callable[[Callable[[int, int], object], int], None]

__all__ = ["loops"]

WORTH = 1024
"""Vertices below which handing them to other threads takes longer than looking at them."""

PARTS = 4
"""Runs of vertices a thread: vertices differ in their edges, and threads in what else their core does."""


@contextmanager
def loops() -> Iterator[Loop]:
    """Give a function that calls another one with runs of the numbers below `n`, by their first and last.

    What is called must do the same whichever runs it gets, and those of one loop at the same time.
    """
    n_threads = settings.n_threads
    with ThreadPoolExecutor(n_threads) as pool:

        def loop(work: Callable[[int, int], object], n: int) -> None:
            if n_threads == 1 or n < WORTH:
                work(0, n)
                return
            size = -(-n // (PARTS * n_threads))
            for _ in pool.map(lambda first: work(first, min(first + size, n)), range(0, n, size)):
                pass

        yield loop
