"""Decides, from the matrices that a call would use, who runs it."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from anndata import AnnData

from ..errors import UnsupportedOutOfMemory
from ..matrix import OOMMatrix, holds_oom, underlying
from ..passes.record import totals
from . import slots
from .arguments import bind, for_override
from .hookspecs import DispatchedCall
from .loan import in_memory
from .manager import observe, overrides

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .loan import Loan
    from .table import Override

__all__ = ["Call", "look"]

_USER = 4
"""How far above :func:`bind` the user's call is, wrappers not counted."""


def look(function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Look at a call of a scanpy function.

    Parameters
    ----------
    function
        scanpy's own.
    name
        Its name below ``scanpy``.
    args, kwargs
        The arguments of the call.

    Returns
    -------
    How to run it out of memory; `None` if nothing that it would use is out of memory.
    """
    for value in args:
        if _is_out_of_memory(value):
            break
    else:
        for value in kwargs.values():
            if _is_out_of_memory(value):
                break
        else:
            return None
    override = overrides()[name]
    try:
        bound = bind(function, args, kwargs, stacklevel=_USER - 1)
    except TypeError:
        return None  # scanpy's own function says what is wrong with the arguments
    used = _out_of_memory(override, bound.arguments)
    return Call(name, override, bound, used) if used else None


def _is_out_of_memory(value: object) -> bool:
    if isinstance(value, AnnData):
        return holds_oom(value)
    return isinstance(value, OOMMatrix)


class Used(NamedTuple):
    """A matrix out of memory that a call would use."""

    holder: AnnData | OOMMatrix
    slot: str
    matrix: OOMMatrix


def _out_of_memory(override: Override, arguments: dict[str, Any]) -> list[Used]:
    used: dict[tuple[int, str], Used] = {}
    for holder, slot in override.uses(arguments):
        if isinstance(holder, OOMMatrix):
            used[id(holder), slot] = Used(holder, slot, holder)
        elif isinstance(holder, AnnData) and isinstance(dict(underlying(holder)).get(slot), OOMMatrix):
            used[id(holder), slot] = Used(holder, slot, slots.get(holder, slot))
    return list(used.values())


class Call:
    """One call of a scanpy function on data out of memory."""

    def __init__(self, name: str, override: Override, bound: Any, used: list[Used]) -> None:
        self.name = name
        self.used = used
        self.implementation, self.args, self.kwargs = _prepared(override, bound)
        self._sources = {id(item.matrix.source): item.matrix.source for item in used}.values()
        self._started = time.perf_counter()
        self._bytes = self._bytes_read()
        self._passes = totals().passes

    def _bytes_read(self) -> int:
        return sum(source.bytes_read for source in self._sources)

    def in_memory(self, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str) -> AbstractContextManager[Loan]:
        """Bring what the call uses into memory for the time of the context."""
        return in_memory(f"sc.{self.name}", self.used, args, kwargs, reason)

    def done(self, how: Literal["out of memory", "materialised"], reason: str | None = None) -> None:
        """Tell the observers that the call has succeeded."""
        seconds = time.perf_counter() - self._started
        bytes_read, passes = self._bytes_read() - self._bytes, totals().passes - self._passes
        observe(DispatchedCall(self.name, how, reason, seconds, bytes_read, passes))


def _prepared(override: Override, bound: Any) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return the function that runs the call, with its arguments; one that declines where there is none."""
    implementation = override.implementation
    if implementation is None:
        return _decline("there is no out-of-memory version of it yet"), [], {}
    if isinstance(implementation, str):
        module, _, function = implementation.partition(":")
        implementation = getattr(import_module(module), function)
    args, kwargs, unknown = for_override(bound, implementation)
    if unknown is not None:
        return _decline(f"its out-of-memory version does not know the argument {unknown!r}"), [], {}
    return implementation, args, kwargs


def _decline(reason: str) -> Callable[[], Any]:
    def decline() -> Any:
        raise UnsupportedOutOfMemory(reason)

    return decline
