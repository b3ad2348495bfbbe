"""Memory of an operation: its share of the limit, and the refusal of what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from .. import messages
from ..errors import MemoryBudgetExceeded
from ..memory.ledger import ACCOUNTANT
from ..settings import format_bytes, settings

__all__ = ["Allotment", "Worker", "allot", "announce", "fits", "require", "room"]

LIBRARIES = 130_000_000
"""Bytes that compiled kernels and the libraries below them take once they are loaded, whatever the data."""

BYTES_PER_ENTRY = 48
"""Bytes that one stored entry takes while its block is read, selected, transformed and reduced."""

ENTRIES_PER_ROW = 16
"""Entries that a row counts for at least: what is looked up in has its size, however little the row stores."""

SMALLEST_BLOCK, LARGEST_BLOCK = 2**14, 2**20
"""Entries of a block: enough that the calls around it, and sums of columns that leave the caches between two blocks,
are a few percent of the time; beyond, little is gained for twice the memory."""

LARGE = 2**23
"""Bytes from which a partial result is large: then none is filled ahead of those that are waited for."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """The share of memory of a pass, and its use.

    Parameters
    ----------
    n_threads
        Threads that work on it.
    n_tasks
        Tasks that are under way, or done and not merged yet, at a time.
    entries
        Stored entries that a block may hold.
    partial_nbytes
        Bytes of the partial results of a task.
    workspace_nbytes
        Bytes that filling them takes beside, of each thread.
    """

    n_threads: int
    n_tasks: int
    entries: int
    partial_nbytes: int
    workspace_nbytes: int = 0

    @property
    def blocks_nbytes(self) -> int:
        """Bytes of the blocks that are held at a time."""
        return self.n_threads * self.entries * BYTES_PER_ENTRY

    @property
    def partials_nbytes(self) -> int:
        """Bytes of the partial results that are held at a time, with what filling them takes.

        Among them is one of a group of tasks, and one of all groups so far.
        """
        return (self.n_tasks + 2) * self.partial_nbytes + self.n_threads * self.workspace_nbytes


class Worker(TypedDict, total=False):
    """What one of several passes takes that run side by side in this process.

    `n_threads`: its threads. `n_beside`: how many passes there are, each of which takes a like part of the limit.
    """

    n_threads: int
    n_beside: int


def allot(
    partial_nbytes: int,
    what: str,
    workspace_nbytes: int = 0,
    largest: int = LARGEST_BLOCK,
    smallest: int = 0,
    *,
    n_threads: int | None = None,
    n_beside: int = 1,
) -> Allotment:
    """Divide what is left of ``settings.memory_limit`` among threads, partial results and blocks.

    Parameters
    ----------
    partial_nbytes
        Bytes of the partial results of a task.
    what
        What they are of, for the message.
    workspace_nbytes
        Bytes that filling them takes beside, of each thread.
    largest
        Entries that a block may hold at most, however much memory there is.
    smallest
        Entries that a block must hold, however little there is: those of the longest row.
    n_threads, n_beside
        As :class:`Worker` has them; by default all threads of the settings, and one pass.

    Raises
    ------
    MemoryBudgetExceeded
        If it is not enough for one thread, one partial result beside those of a group and of all groups, and the
        smallest block. The message says what the least limit is.
    """
    smallest = max(smallest, min(SMALLEST_BLOCK, largest))
    n = n_threads or settings.n_threads

    def divided(available: int) -> Allotment | None:
        left = LIBRARIES + (available - LIBRARIES) // n_beside
        return _allotted(partial_nbytes, workspace_nbytes, (smallest, largest), left, n)

    found = divided(ACCOUNTANT.available_to_passes())
    if found is None:
        limit, held = _limit_and_held()
        found = divided(limit - held)
    if found is not None:
        return found
    of_each = 3 * partial_nbytes + workspace_nbytes + smallest * BYTES_PER_ENTRY
    least = n_beside * of_each + LIBRARIES + held
    msg = (
        f"{what} needs at least {format_bytes(least)} of memory, {format_bytes(LIBRARIES)} of it for libraries; "
        f"the limit is {format_bytes(limit)}. Take fewer columns or groups, or raise the limit: "
        f"`scanpy_oom.settings.memory_limit = '{format_bytes(least * 1.05)}'`."
    )
    raise MemoryBudgetExceeded(msg)


def _limit_and_held() -> tuple[int, int]:
    """Make room; return the limit, and what is held of it beside passes then.

    They are read together, once for a decision and for what is said of it: the limit that is not set follows what is
    free on the machine, which other processes change from one moment to the next.
    """
    ACCOUNTANT.make_room()
    return settings.memory_limit, ACCOUNTANT.held_for_good


def room(wanted: float) -> int:
    """Return the bytes that are left of the limit; if fewer than `wanted`, after everything has been given back."""
    available = ACCOUNTANT.available_to_passes()
    if available >= wanted:
        return available
    limit, held = _limit_and_held()
    return max(limit - held, 0)


def _allotted(
    partial_nbytes: int, workspace_nbytes: int, bounds: tuple[int, int], available: int, n: int
) -> Allotment | None:
    """Return the division with the most tasks and threads that fits, were this the only pass; None if none does.

    `bounds` are the entries that a block must be able to hold, and those that it may; `n` the threads that there are.
    """
    smallest, largest = bounds
    left = available - LIBRARIES
    ahead = [] if partial_nbytes >= LARGE else [(n, n + 1)]
    for n_threads, n_tasks in [*ahead, *((k, k) for k in range(n, 0, -1))]:
        for_blocks = left - (n_tasks + 2) * partial_nbytes - n_threads * workspace_nbytes
        entries = for_blocks // (n_threads * BYTES_PER_ENTRY)
        if entries >= smallest:
            return Allotment(n_threads, n_tasks, min(entries, max(largest, smallest)), partial_nbytes, workspace_nbytes)
    return None


def fits(partial_nbytes: int, workspace_nbytes: int = 0) -> bool:
    """Return whether :func:`allot` would find room for such a pass."""
    bounds = SMALLEST_BLOCK, LARGEST_BLOCK
    available = ACCOUNTANT.available_to_passes()
    n = settings.n_threads
    if _allotted(partial_nbytes, workspace_nbytes, bounds, available, n) is not None:
        return True
    limit, held = _limit_and_held()
    return _allotted(partial_nbytes, workspace_nbytes, bounds, limit - held, n) is not None


def fits_as_it_is(nbytes: float) -> bool:
    """Return whether `nbytes` more may be taken before anything is given back."""
    if nbytes <= NO_MATTER and not settings.limits_memory:
        return True  # to ask the machine for what is free takes longer than to read a row
    return nbytes <= ACCOUNTANT.available_to_passes()


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
        If that is more than is left of ``settings.memory_limit``.
    """
    if not fits_as_it_is(nbytes):
        limit, held = _limit_and_held()
        if nbytes <= limit - held:
            return
        in_use = f" allows; scanpy-oom already uses {format_bytes(held)} of it" if held else ""
        msg = (
            f"{what} would take {format_bytes(nbytes)} of memory, more than the limit of "
            f"{format_bytes(limit)}{in_use}. {advice} Or raise the limit: "
            f"`scanpy_oom.settings.memory_limit = '{format_bytes(nbytes * 1.2 + held)}'`.{_asked_for()}"
        )
        raise MemoryBudgetExceeded(msg)


NO_MATTER = 2**22
"""Bytes that fit whatever the machine has, unless a limit is set."""

NOTABLE = 10_000_000
"""Bytes from which users are warned that something is brought into memory; of less the report tells."""

_announced: set[tuple[str, str, bool]] = set()


def announce(operation: str, what: str, nbytes: float, reason: str) -> None:
    """Say, once for each operation and matrix, that it brings `what` into memory, and which line asked for it."""
    is_notable = nbytes >= NOTABLE
    if (operation, what, is_notable) not in _announced:
        _announced.add((operation, what, is_notable))
        text = f"{operation} brings {what} into memory ({format_bytes(nbytes)}): {reason}.{_asked_for()}"
        (messages.warning if is_notable else messages.info)(text[0].upper() + text[1:] if text[0] == "c" else text)


def _asked_for() -> str:
    """Say which line of the user's code asks for what is done, and through which library, as far as that is seen."""
    place = messages.place()
    if place is None:
        return ""
    through = f", through {place.library}" if place.library and place.line else ""
    return f" The call is in {place.quoted}{through}."
