"""The ledger of memory: reservations within the limit, and their holders."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet, finalize

from ..settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ACCOUNTANT", "Accountant", "Holding", "Kind"]

Kind = Literal["blocks", "partial results", "workspace", "copies", "statistics", "caches", "sorting", "results"]
"""What memory is taken for. `"results"` are those that stay with the user (coordinates, matrices brought into memory):
they are counted and shown, and are no part of the limit."""


_OF_PASSES = ("blocks", "partial results")
"""Kinds that running passes take, and give back at their end."""

_PATIENCE = 1.0
"""Seconds after which a pass that waits for others looks again whether they are still there."""

_OF_NO_MATTER = "statistics"
"""A few numbers for each row or column of a matrix. They stay, like the rows and columns that it selects, and as for
these nothing is refused because of them: else it would depend on what was asked for before."""


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


class _Share:
    """Reservations for the time of a context, by kind; for a pass, with the thread that runs it."""

    __slots__ = ("__weakref__", "amounts", "thread")

    def __init__(self, amounts: Mapping[str, int], thread: int | None = None) -> None:
        self.amounts = amounts
        self.thread = thread


class Accountant:
    """Keeps account of what our work takes of ``settings.memory_limit``. Threads may call at once."""

    def __init__(self) -> None:
        self._renew()
        self._holdings: Counter[str] = Counter()
        self._peak = 0
        self._givers: list[Callable[[], object]] = []

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run while it is held
        self._changed = threading.Condition(self._lock)  # waited for, but never entered: Ctrl-C may come in between
        # weakly, so that a share is gone whose context Ctrl-C has ended at a bad moment
        self._shares: WeakSet[_Share] = WeakSet()

    def after_fork(self) -> None:
        """Forget the threads of the parent and what they took for a time."""
        self._renew()

    @contextmanager
    def reserve(self, **amounts: int) -> Iterator[None]:
        """Count these bytes for the time of the context, by :data:`Kind` with underscores for spaces."""
        share = _Share({name.replace("_", " "): nbytes for name, nbytes in amounts.items()})
        try:
            self._count(share)
            yield
        finally:
            self._shares.discard(share)

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
        share = _Share({"blocks": blocks, "partial results": partial_results}, threading.get_ident())
        try:
            with self._lock:
                while self._others_run(share) and blocks + partial_results + beside > self.available():
                    self._changed.wait(_PATIENCE)
                self._count(share)  # before anybody else looks
            yield
        finally:
            with self._lock:
                self._shares.discard(share)
                self._changed.notify_all()

    def _others_run(self, share: _Share) -> bool:
        """Return whether passes are under way, all of them in other threads."""
        threads = {other.thread for other in self._shares} - {None}
        return bool(threads) and share.thread not in threads

    def _count(self, share: _Share) -> None:
        with self._lock:
            self._shares.add(share)
            self._peak = max(self._peak, self.in_use)

    def hold(self, owner: object, kind: Kind, nbytes: int = 0) -> Holding:
        """Count bytes for as long as `owner` lives; their number can be changed."""
        holding = Holding(self, kind)
        holding.set(nbytes)
        finalize(owner, holding.set, 0)
        return holding

    def on_shortage(self, give_back: Callable[[], object]) -> None:
        """Register what gives back memory that is held only because it may be of use later."""
        self._givers.append(give_back)

    def make_room(self) -> None:
        """Have everything given back that nothing under way needs: to be called before anything is refused."""
        for give_back in self._givers:
            give_back()
        gc.collect()  # what nobody uses any more may still be held by a cycle of references

    def add(self, amounts: Mapping[str, int]) -> None:
        """Count more bytes, or fewer where numbers are negative, by kind."""
        with self._lock:
            self._holdings.update(amounts)
            self._peak = max(self._peak, self.in_use)

    def _all(self) -> Counter[str]:
        with self._lock:
            total = Counter(self._holdings)
            for share in self._shares:
                total.update(share.amounts)
            return total

    @property
    def held(self) -> dict[str, int]:
        """Bytes by kind, of what is held now."""
        return {kind: nbytes for kind, nbytes in self._all().items() if nbytes}

    @property
    def in_use(self) -> int:
        """Bytes that count against the limit."""
        return sum(nbytes for kind, nbytes in self._all().items() if kind != "results")

    @property
    def held_beside_passes(self) -> int:
        """Bytes that count against the limit when no pass is under way."""
        return sum(nbytes for kind, nbytes in self._all().items() if kind not in {"results", *_OF_PASSES})

    @property
    def held_for_good(self) -> int:
        """Bytes that stay when no pass is under way, whatever is given back: because of these, things are refused."""
        return self.held_beside_passes - self._all()[_OF_NO_MATTER]

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
"""The ledger of this process."""

settings.in_use = lambda: ACCOUNTANT.in_use

if hasattr(os, "register_at_fork"):  # a thread that held the lock does not exist in the child
    os.register_at_fork(after_in_child=ACCOUNTANT.after_fork)
