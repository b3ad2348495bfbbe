"""What one call takes."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Self

from ..passes.record import totals_of_thread as totals
from .hookspecs import DispatchedCall
from .log import log
from .manager import observe
from .memory import clock, sampler

if TYPE_CHECKING:
    from types import TracebackType

    from ..passes.record import Totals
    from .hookspecs import How

__all__ = ["Measurement"]

_innermost: ContextVar[Measurement | None] = ContextVar("_innermost", default=None)
"""The call that runs, of those that were called within each other the last."""


class Measurement:
    """Measures a call while it is entered, and tells the observers when it ends, well or not.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``.
    how
        Who runs it; may be set until the end.
    reason
        Why; may be set until the end.
    """

    _token: Token[Measurement | None]
    _depth: int

    def __init__(self, function: str, how: How, reason: str | None = None) -> None:
        self.function = function
        self.how = how
        self.reason = reason
        self._passes_within = 0

    def __enter__(self) -> Self:
        log.begin()
        self._caller = _innermost.get()
        self._depth = 0 if self._caller is None else self._caller._depth + 1
        self._before = totals()
        self._peak = sampler.watch()
        self._started = clock()
        self._token = _innermost.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _innermost.reset(self._token)
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
                reason=self._why(passes) + _where(self._before, after),
                error=None if kind is None else kind.__name__,
                seconds=seconds,
                bytes_read=after.bytes_read - self._before.bytes_read,
                passes=passes,
                peak_memory=peak_memory,
                started=self._started,
                depth=self._depth,
                caller=None if caller is None else caller.function,
            )
        )

    def _why(self, passes: int) -> str:
        if self.how == "scanpy as it is":
            if passes > self._passes_within:
                return "takes the part that it needs from disk"
            if passes:
                return "functions that it calls read from disk"
        return self.reason or "no matrix on disk is touched"


def _where(before: Totals, after: Totals) -> str:
    """Say where passes ran, if one of them had another place than the CPU to run."""
    earlier = dict(before.by_device)
    found = {where: n - earlier.get(where, 0) for where, n in after.by_device}
    new = {where: n for where, n in found.items() if n > 0}
    if not new.keys() - {"cpu"}:
        return ""
    named = {("the CPU" if where == "cpu" else where): n for where, n in new.items()}
    return "; passes on " + ", ".join(f"{where} ({n:,})" for where, n in named.items())
