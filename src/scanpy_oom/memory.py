"""How much memory there is, and who holds how much of it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from weakref import finalize

from .settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ACCOUNTANT", "Accountant", "Holding", "Kind"]

Kind = Literal["blocks", "partial results", "workspace", "stages", "statistics", "caches", "sorting", "results"]
"""What memory is taken for. `"results"` are those that stay with the user (coordinates, matrices brought into memory):
they are counted and shown, and are no part of the limit."""


_OF_PASSES = ("blocks", "partial results")
"""What passes under way take, and give back at their end."""


class Holding:
    """A number of bytes that an :class:`Accountant` counts.

    Parameters
    ----------
    accountant
        Who counts.
    kind
        What for.
    """

    __slots__ = ("_accountant", "_kind", "_nbytes")

    def __init__(self, accountant: Accountant, kind: Kind) -> None:
        self._accountant = accountant
        self._kind = kind
        self._nbytes = 0

    def set(self, nbytes: int) -> None:
        """Count `nbytes` from now on."""
        change, self._nbytes = nbytes - self._nbytes, nbytes
        self._accountant.add({self._kind: change})


class Accountant:
    """Keeps account of what our work takes of ``settings.memory_limit``. Threads may call at once."""

    def __init__(self) -> None:
        self._renew()
        self._held: Counter[str] = Counter()
        self._peak = 0

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run while it is held
        self._changed = threading.Condition(self._lock)
        self._passes: Counter[int] = Counter()

    def after_fork(self) -> None:
        """Forget the threads of the parent and what their passes took."""
        self._renew()
        for kind in _OF_PASSES:
            self._held.pop(kind, None)

    @contextmanager
    def reserve(self, **amounts: int) -> Iterator[None]:
        """Count these bytes for the time of the context, by :data:`Kind` with underscores for spaces."""
        kinds = {name.replace("_", " "): nbytes for name, nbytes in amounts.items()}
        self.add(kinds)
        try:
            yield
        finally:
            self.add({kind: -nbytes for kind, nbytes in kinds.items()})

    @contextmanager
    def grant(self, *, beside: int, blocks: int, partial_results: int) -> Iterator[None]:
        """Give a pass its share for the time of the context; if others have too much of it, once they are done.

        Parameters
        ----------
        beside
            Bytes of the limit that are not for passes.
        blocks, partial_results
            Bytes that the pass takes.
        """
        me = threading.get_ident()
        with self._changed:
            while (
                self._passes.total() and not self._passes[me] and blocks + partial_results + beside > self.available()
            ):
                self._changed.wait()
            self._passes[me] += 1
            self.add({"blocks": blocks, "partial results": partial_results})  # before anybody else looks
        try:
            yield
        finally:
            with self._changed:
                self.add({"blocks": -blocks, "partial results": -partial_results})
                self._passes[me] -= 1
                self._changed.notify_all()

    def hold(self, owner: object, kind: Kind, nbytes: int = 0) -> Holding:
        """Count bytes for as long as `owner` lives; their number can be changed."""
        holding = Holding(self, kind)
        holding.set(nbytes)
        finalize(owner, holding.set, 0)
        return holding

    def add(self, amounts: Mapping[str, int]) -> None:
        """Count more bytes, or fewer where numbers are negative, by kind."""
        with self._lock:
            self._held.update(amounts)
            self._peak = max(self._peak, self.in_use)

    @property
    def held(self) -> dict[str, int]:
        """Bytes by kind, of what is held now."""
        with self._lock:
            return {kind: nbytes for kind, nbytes in self._held.items() if nbytes}

    @property
    def in_use(self) -> int:
        """Bytes that count against the limit."""
        with self._lock:
            return sum(nbytes for kind, nbytes in self._held.items() if kind != "results")

    @property
    def held_beside_passes(self) -> int:
        """Bytes that count against the limit when no pass is under way."""
        with self._lock:
            return self.in_use - sum(self._held[kind] for kind in _OF_PASSES)

    @property
    def peak(self) -> int:
        """Largest number of bytes that ever counted against the limit."""
        return self._peak

    def available(self) -> int:
        """Return the bytes that are left of the limit."""
        return max(settings.memory_limit - self.in_use, 0)

    def available_to_passes(self) -> int:
        """Return the bytes of the limit that are left when no pass is under way."""
        return max(settings.memory_limit - self.held_beside_passes, 0)


ACCOUNTANT = Accountant()
"""That of this process."""

settings.in_use = lambda: ACCOUNTANT.in_use

if hasattr(os, "register_at_fork"):  # a thread that held the lock does not exist in the child
    os.register_at_fork(after_in_child=ACCOUNTANT.after_fork)
