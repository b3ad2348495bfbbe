"""Decides, from the matrices that a call would use, who runs it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TypeGuard

from anndata import AnnData

from .. import messages
from .._scanpy import MissingFromScanpy
from ..errors import UnsupportedOutOfMemory
from ..matrix import OOMMatrix, holds_oom, root_of, underlying
from ..settings import settings
from . import slots
from . import uses as rules
from .arguments import bind, for_override, unread
from .estimates import advise
from .fallback import Fallback, in_memory
from .patching.imports import forget_unfinished
from .plugins.manager import overrides
from .prefetch import PREFETCHED, prefetch
from .slots import Used
from .telemetry.call import Measurement
from .telemetry.log import log
from .telemetry.origins import origin
from .undo import Held, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from inspect import BoundArguments

    from .arguments import Args, Function, Kwargs
    from .prefetch import Genes
    from .registry import Override
    from .undo import Undo

__all__ = ["Call", "look", "matrices_used", "prepared", "used_instead"]


def look(function: Function, name: str, args: Args, kwargs: Kwargs) -> Call | None:
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
    fast = _fast(name, args, kwargs) if settings.graph == "fast" else None
    if fast is not None:
        return _fast_call(fast, function, args, kwargs)
    for value in args:
        if _is_out_of_memory(value):
            break
    else:
        for value in kwargs.values():
            if _is_out_of_memory(value):
                break
        else:
            return InMemoryCall(name, _in_memory_since(args, kwargs)) if log.has_begun else None
    override = overrides().get(name)
    if override is None and name not in PREFETCHED:
        return Call(name)
    try:
        bound = bind(function, args, kwargs)
    except TypeError as error:
        return _not_understood(function, name, args, kwargs, error)
    if override is None:
        call = Call(name)
        call.genes = PREFETCHED[name](bound.arguments)
        return call
    used = matrices_used(override, bound.arguments)
    if not used:
        advise(name, bound.arguments)
        return Call(name, used_instead(override, bound.arguments) or _in_memory_since(args, kwargs, None))
    call = Call(name, " and ".join(slots.attribute(item.slot) for item in used) + " is on disk", used)
    call.advice = override.advice
    call.implementation, call.args, call.kwargs = prepared(override, bound)
    return call


def _fast(name: str, args: Args, kwargs: Kwargs) -> Override | None:
    """Return what runs a call with ``settings.graph = "fast"``; `None` if that changes nothing."""
    override = overrides().get(name)
    if override is None or override.fast is None:
        return None
    works_on = args[0] if args else kwargs.get("adata")
    return replace(override, implementation=override.fast) if isinstance(works_on, AnnData) else None


def _fast_call(override: Override, function: Function, args: Args, kwargs: Kwargs) -> Call:
    name = override.function
    try:
        bound = bind(function, args, kwargs)
    except TypeError as error:
        return _not_understood(function, name, args, kwargs, error)
    call = FastCall(name, matrices_used(override, bound.arguments))
    call.advice = override.advice
    call.implementation, call.args, call.kwargs = prepared(override, bound)
    return call


def _not_understood(function: Function, name: str, args: Args, kwargs: Kwargs, error: TypeError) -> Call:
    """Leave it to scanpy to say what is wrong with the arguments; on data in memory, if it may take them after all."""
    modules = unread(function)
    if not modules:
        return Call(name)
    call = Call(name, used=[item for value in (*args, *kwargs.values()) for item in _held(value)])
    reason = f"{error}, unless a decorator of {' or '.join(modules)} takes the arguments otherwise"
    call.implementation = _decline(reason)
    return call


def _held(value: object) -> Iterator[Used]:
    """Yield all matrices out of memory that an argument holds, or is."""
    if isinstance(value, OOMMatrix):
        yield Used(value, "", value)
    elif isinstance(value, AnnData):
        for slot, matrix in underlying(value):
            if isinstance(matrix, OOMMatrix):
                yield Used(value, slot, slots.get(value, slot))


def _is_out_of_memory(value: object) -> bool:
    if isinstance(value, AnnData):
        return holds_oom(value)
    return isinstance(value, OOMMatrix)


def matrices_used(override: Override, arguments: dict[str, object]) -> list[Used]:
    """Return the matrices out of memory that a call would use."""
    used: dict[tuple[int, str], Used] = {}
    for holder, slot in override.uses(arguments):
        if isinstance(holder, OOMMatrix):
            used[id(holder), slot] = Used(holder, slot, holder)
        elif isinstance(holder, AnnData) and isinstance(dict(underlying(holder)).get(slot), OOMMatrix):
            used[id(holder), slot] = Used(holder, slot, slots.get(holder, slot))
    return list(used.values())


def used_instead(override: Override, arguments: dict[str, object]) -> str | None:
    """Return what a call uses instead of a matrix on disk, where that can be told."""
    if override.uses is rules.representation and arguments.get("distances") is None:
        return f"uses obsm[{arguments.get('use_rep') or 'X_pca'!r}]"
    layer = arguments.get("layer")
    return None if layer is None else f"uses layers[{layer!r}], which is in memory"


def _in_memory_since(args: Args, kwargs: Kwargs, unknown: str | None = "its data are in memory") -> str | None:
    """Say how the data of a call came to be in memory, as far as that is remembered."""
    for value in (*args, *kwargs.values()):
        found = origin(root_of(value) if isinstance(value, AnnData) else value)
        if found is not None:
            return f"its data are in memory since {found}"
        for slot, matrix in underlying(value) if isinstance(value, AnnData) else ():
            found = origin(matrix)
            if found is not None:
                return f"{slots.attribute(slot)} is in memory since {found}"
    return unknown


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

    implementation: Function | None = None
    """Function that runs it out of memory, with `args` and `kwargs`; `None` if scanpy runs it as it is."""

    genes: Iterable[Genes] = ()
    """Genes that scanpy will ask for, one after the other."""

    advice: str = ""
    """Advice where the matrices do not fit in memory."""

    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = MappingProxyType({})

    undo: Undo = nothing
    """Function to call, before anything else, where the call fails."""

    def __init__(self, name: str, reason: str | None = None, used: Sequence[Used] = ()) -> None:
        super().__init__(name, "out of memory" if used else "scanpy as it is", reason)
        self.used = used

    def prepare(self) -> None:
        """Read what is better read together."""
        if self.genes:
            prefetch(self.genes)

    def declined(self, error: UnsupportedOutOfMemory) -> str:
        """Return why the override does not cover the call; warn where the installed scanpy is the cause."""
        if isinstance(error, MissingFromScanpy):
            messages.warn_user(
                f"sc.{self.function} cannot work from disk: {error.reason}. scanpy's own function runs instead, on "
                "data in memory. Install a scanpy that this version of scanpy-oom supports, or a newer scanpy-oom."
            )
        return error.reason

    def remember(self, args: Args, kwargs: Kwargs) -> None:
        """Keep in mind what each AnnData among the arguments holds, so that a call that fails changes nothing."""
        values = (*args, *kwargs.values())
        name = kwargs.get("obsm") if self.function.startswith("pp.") else None
        worked_on = [value.obsm[name] for value in values if name is not None and _has_obsm(value, name)]
        self._held = Held(values, worked_on)
        self.undo = self._held.undo

    def begin_anew(self, args: Args, kwargs: Kwargs) -> None:
        """Take back what an override has done before it declined the call."""
        self.undo()
        self.remember(args, kwargs)

    def failed(self, error: BaseException) -> None:
        """Have the call work when it is repeated, if it was interrupted while it imported what it needs."""
        if not isinstance(error, Exception):
            forget_unfinished(error)

    def in_memory(self, args: Args, kwargs: Kwargs, reason: str) -> AbstractContextManager[Fallback]:
        """Bring what the call uses into memory for the time of the context."""
        place = messages.place()
        self.how, self.reason, self.where = "materialised", reason, None if place is None else str(place)
        begin = partial(self._held.deepen, [item.holder for item in self.used])
        return in_memory(f"sc.{self.function}", self.used, args, kwargs, reason, self.advice, begin)


class InMemoryCall(Call):
    """One that touches nothing that is out of memory: what it leaves behind when it fails is scanpy's own affair."""

    def remember(self, args: Args, kwargs: Kwargs) -> None:
        """Keep nothing in mind."""


class FastCall(Call):
    """One that is ours by ``settings.graph = "fast"``, wherever the data are.

    Parameters
    ----------
    name
        Name of the function below ``scanpy``.
    used
        Matrices out of memory that it would use.
    """

    def __init__(self, name: str, used: Sequence[Used]) -> None:
        super().__init__(name, "settings.graph is 'fast'", used)
        self.how = "out of memory"

    def begin_anew(self, args: Args, kwargs: Kwargs) -> None:
        """Take back what was done; what scanpy then does to data in memory is its own affair."""
        super().begin_anew(args, kwargs)
        if not self.used:
            self.undo = nothing

    def in_memory(self, args: Args, kwargs: Kwargs, reason: str) -> AbstractContextManager[Fallback]:
        """Leave to scanpy what is not covered, with what the call uses in memory."""
        reason = f"settings.graph is 'fast', which does not cover this: {reason}"
        if self.used:
            return super().in_memory(args, kwargs, reason)
        self.how, self.reason = "scanpy as it is", reason
        return nullcontext(Fallback(args, kwargs))


def _has_obsm(value: object, name: object) -> TypeGuard[AnnData]:
    return isinstance(value, AnnData) and not value.is_view and name in value.obsm


def prepared(override: Override, bound: BoundArguments) -> tuple[Function, list[object], Kwargs]:
    """Return the function that runs the call, with its arguments; one that declines where there is none."""
    implementation = override.implementation
    if implementation is None:
        return _decline(override.reason), [], {}
    try:
        if isinstance(implementation, str):
            module, _, function = implementation.partition(":")
            implementation = getattr(import_module(module), function)
        args, kwargs, unknown = for_override(bound, implementation)
    except MissingFromScanpy as error:
        return _decline(error), [], {}
    if unknown is not None:
        return _decline(f"its out-of-memory version does not know the argument {unknown!r}"), [], {}
    return implementation, args, kwargs


def _decline(reason: str | UnsupportedOutOfMemory) -> Callable[[], NoReturn]:
    def decline() -> NoReturn:
        raise reason if isinstance(reason, UnsupportedOutOfMemory) else UnsupportedOutOfMemory(reason)

    return decline
