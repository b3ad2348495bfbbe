"""Decides, from the matrices that a call would use, who runs it."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from anndata import AnnData

from ..errors import UnsupportedOutOfMemory
from ..matrix import OOMMatrix, holds_oom, underlying
from . import rules, slots
from .arguments import bind, for_override
from .gather import gather
from .genes import GATHERED
from .loan import in_memory
from .log import log
from .manager import overrides
from .measure import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .genes import Genes
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
    How to run it, and who measures it; `None` if it is no affair of ours, since its data are in memory and nothing has
    been opened out of memory yet.
    """
    for value in args:
        if _is_out_of_memory(value):
            break
    else:
        for value in kwargs.values():
            if _is_out_of_memory(value):
                break
        else:
            return Call(name, "its data are in memory") if log.has_begun else None
    override = overrides().get(name)
    if override is None and name not in GATHERED:
        return Call(name)
    try:
        bound = bind(function, args, kwargs, stacklevel=_USER - 1)
    except TypeError:
        return Call(name)  # scanpy's own function says what is wrong with the arguments
    if override is None:
        call = Call(name)
        call.genes = GATHERED[name](bound.arguments)
        return call
    used = _out_of_memory(override, bound.arguments)
    if not used:
        return Call(name, _elsewhere(override, bound.arguments))
    call = Call(name, " and ".join(slots.attribute(item.slot) for item in used) + " is on disk", used)
    call.advice = override.advice
    call.implementation, call.args, call.kwargs = _prepared(override, bound)
    return call


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


def _elsewhere(override: Override, arguments: dict[str, Any]) -> str | None:
    """Return what a call uses instead of a matrix on disk, where that can be told."""
    if override.uses is rules.representation and arguments.get("distances") is None:
        return f"uses obsm[{arguments.get('use_rep') or 'X_pca'!r}]"
    layer = arguments.get("layer")
    return None if layer is None else f"uses layers[{layer!r}], which is in memory"


class Call(Measurement):
    """One call of a scanpy function, to be entered while it runs.

    Parameters
    ----------
    name
        Name of the function below ``scanpy``.
    reason
        Why it is run as it is, where that is known beforehand.
    used
        Matrices out of memory that it would use.
    """

    implementation: Callable[..., Any] | None = None
    """What runs it out of memory, with `args` and `kwargs`; `None` if scanpy runs it as it is."""

    genes: Iterable[Genes] = ()
    """What scanpy will ask for, one gene after the other."""

    advice: str = ""
    """What to do where the matrices do not fit in memory."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str, reason: str | None = None, used: Sequence[Used] = ()) -> None:
        super().__init__(name, "out of memory" if used else "scanpy as it is", reason)
        self.used = used

    def prepare(self) -> None:
        """Read what is better read together."""
        if self.genes:
            gather(self.genes)

    def in_memory(self, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str) -> AbstractContextManager[Loan]:
        """Bring what the call uses into memory for the time of the context."""
        self.how, self.reason = "materialised", reason
        return in_memory(f"sc.{self.function}", self.used, args, kwargs, reason, self.advice)


def _prepared(override: Override, bound: Any) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return the function that runs the call, with its arguments; one that declines where there is none."""
    implementation = override.implementation
    if implementation is None:
        return _decline(override.reason), [], {}
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
