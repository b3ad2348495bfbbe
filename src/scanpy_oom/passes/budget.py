"""How much memory an operation may take, and what is said when it would take more."""

from __future__ import annotations

from scanpy import logging as logg

from ..errors import MemoryBudgetExceeded
from ..settings import format_bytes, settings

__all__ = ["announce", "block_entries", "require"]

BYTES_PER_ENTRY = 40
"""Bytes that one stored entry takes while its block is read, selected, transformed and reduced."""

SMALLEST_BLOCK, LARGEST_BLOCK = 2**14, 2**20
"""Entries of a block: enough to make the calls around it negligible, few enough to stay near the cores."""


def block_entries(n_threads: int) -> int:
    """Return how many stored entries a block may hold, for the blocks of all threads to take a quarter of the limit."""
    return min(max(settings.memory_limit // (4 * n_threads * BYTES_PER_ENTRY), SMALLEST_BLOCK), LARGEST_BLOCK)


def require(nbytes: float, what: str, advice: str) -> None:
    """Make sure that `nbytes` more may be taken.

    Parameters
    ----------
    nbytes
        What would be allocated.
    what
        The operation, as the subject of a sentence.
    advice
        What to do instead, as a sentence.

    Raises
    ------
    MemoryBudgetExceeded
        If that is more than ``settings.memory_limit``.
    """
    limit = settings.memory_limit
    if nbytes > limit:
        msg = (
            f"{what} would take {format_bytes(nbytes)} of memory, more than the limit of {format_bytes(limit)}. "
            f"{advice} Or raise the limit: `scanpy_oom.settings.memory_limit = '{format_bytes(nbytes * 1.2)}'`."
        )
        raise MemoryBudgetExceeded(msg)


_announced: set[str] = set()


def announce(operation: str, what: str, nbytes: float, reason: str) -> None:
    """Say, once for each operation, that it brings `what` into memory."""
    if operation not in _announced:
        _announced.add(operation)
        logg.warning(f"{operation} brings {what} into memory ({format_bytes(nbytes)}): {reason}.")
