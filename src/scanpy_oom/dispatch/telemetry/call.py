"""The record of one call: seconds, passes, bytes and memory."""

from __future__ import annotations

from contextvars import ContextVar, Token
from threading import Lock
from typing import TYPE_CHECKING, Self

from ...engine.runtime.pass_log import totals_of_thread as totals
from ...memory.rss import clock, sampler
from ...messages import remarks
from ..plugins.hookspecs import DispatchedCall
from ..plugins.manager import observe
from .log import log

if TYPE_CHECKING:
    from types import TracebackType

    from ...engine.runtime.pass_log import Totals
    from ..plugins.hookspecs import How

__all__ = ["Measurement", "is_counted_already"]

_innermost: ContextVar[Measurement | None] = ContextVar("_innermost", default=None)
"""Of the calls that were called within each other the last; it has ended if it was interrupted at its end."""


class Measurement:
    """Measures a call while it is entered, and tells the observers when it ends, well or not.

    It is entered within its own lock, as in ``with call.running, call:``. Python's locks are released whatever happens,
    while Ctrl-C may come before the first line of ``__exit__``: what is not locked runs no more.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``.
    how
        Who runs it; may be set until the end.
    reason
        Why; may be set until the end.
    where
        Which line of the user's code asked for it, where that is of interest.
    """

    _caller: Measurement | None
    _token: Token[Measurement | None]
    _remarks: Token[list[str] | None]
    _depth: int

    def __init__(self, function: str, how: How, reason: str | None = None, where: str | None = None) -> None:
        self.function = function
        self.how = how
        self.reason = reason
        self.where = where
        self.running = Lock()
        self._passes_within = 0

    def __enter__(self) -> Self:
        log.begin()
        self._caller = _running()
        self._depth = 0 if self._caller is None else self._caller._depth + 1
        self._before = totals()
        self._peak = sampler.watch()
        self._started = clock()
        self._remarks = remarks.set([])
        self._token = _innermost.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _innermost.reset(self._token)
        said = remarks.get() or []
        remarks.reset(self._remarks)
        seconds, after = clock() - self._started, totals()
        passes = after.passes - self._before.passes
        peak_memory = sampler.release(self._peak)
        caller = self._caller
        if caller is not None:
            if caller.function == self.function:
                return  # some call themselves on the matrix of an AnnData, which is a detail
            caller._passes_within += passes
        observe(
            DispatchedCall(
                function=self.function,
                how=self.how,
                reason="; ".join([self._why(passes), *said]) + _where(self._before, after),
                error=None if kind is None else kind.__name__,
                seconds=seconds,
                bytes_read=after.bytes_read - self._before.bytes_read,
                passes=passes,
                peak_memory=peak_memory,
                started=self._started,
                depth=self._depth,
                caller=None if caller is None else caller.function,
                where=self.where,
            )
        )

    def _why(self, passes: int) -> str:
        if self.how == "scanpy as it is":
            if passes > self._passes_within:
                return "takes the part that it needs from disk"
            if passes:
                return "functions that it calls read from disk"
        return self.reason or "no matrix on disk is touched"


def _running() -> Measurement | None:
    """Return the innermost call that has not ended."""
    call = _innermost.get()
    while call is not None and not call.running.locked():
        call = call._caller
    return call


def is_counted_already() -> bool:
    """Return whether what is brought into memory now is part of a call that is known to work on matrices on disk."""
    call = _running()
    while call is not None and call.how == "scanpy as it is":
        call = call._caller
    return call is not None


def _where(before: Totals, after: Totals) -> str:
    """Say where passes ran, if one of them had another place than the CPU to run."""
    earlier = dict(before.by_device)
    found = {where: n - earlier.get(where, 0) for where, n in after.by_device}
    new = {where: n for where, n in found.items() if n > 0}
    if not new.keys() - {"cpu"}:
        return ""
    named = {("the CPU" if where == "cpu" else where): n for where, n in new.items()}
    return "; passes on " + ", ".join(f"{where} ({n:,})" for where, n in named.items())
