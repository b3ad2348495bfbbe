"""A call's arguments by name, as scanpy itself would understand them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import sparse

from .. import _scanpy
from ..matrix import OOMMatrix
from ..messages import warn_user

__all__ = ["Args", "Function", "Kwargs", "bind", "for_override", "unread"]

Args = tuple[object, ...]
Function = Callable[..., object]
Kwargs = dict[str, object]

_HAND_ON = {"functools", "typing_extensions", "warnings"}
"""Modules of decorators that hand on arguments as they are."""


@dataclass(frozen=True)
class _OldPositionals:
    """Arguments that scanpy still takes by position, with a warning (its decorator ``old_positionals``)."""

    names: tuple[str, ...]
    n_positional: int

    def update(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs, str]:
        rest = args[self.n_positional :]
        if not rest or len(rest) > len(self.names):
            return args, kwargs, ""
        named = dict(zip(self.names, rest, strict=False))
        msg = (
            f"The specified parameters {tuple(named)!r} are no longer positional. "
            f"Please specify them like `{self.names[0]}={rest[0]!r}`"
        )
        return args[: self.n_positional], {**kwargs, **named}, msg


@dataclass(frozen=True)
class _Renamed:
    """An argument that scanpy still takes by its former name, with a warning (its decorator ``renamed_arg``)."""

    function: str
    old: str
    new: str

    def update(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs, str]:
        if self.old not in kwargs:
            return args, kwargs, ""
        renamed = {self.new if name == self.old else name: value for name, value in kwargs.items()}
        return args, renamed, f"In function `{self.function}`, argument `{self.old}` was renamed to `{self.new}`."


@dataclass(frozen=True)
class _RandomState:
    """A `random_state`, which scanpy 1.13 takes for `rng` (its decorator ``_accepts_legacy_random_state``)."""

    wrap: Callable[[object], object]
    default: object

    def update(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs, str]:
        if "rng" not in kwargs:
            others = {name: value for name, value in kwargs.items() if name != "random_state"}
            return args, {**others, "rng": self.wrap(kwargs.get("random_state", self.default))}, ""
        if "random_state" in kwargs:
            msg = "Specify at most one of `rng` and `random_state`."
            raise TypeError(msg)
        return args, kwargs, ""


_Former = _OldPositionals | _Renamed | _RandomState


def _read(decorated: Function) -> _Former | None:
    """Read from a decorated function which former way to call it the decorator allows."""
    names, others = inspect.getclosurevars(decorated)[:2] if inspect.isfunction(decorated) else ({}, {})
    if "old_positionals" in names:
        return _OldPositionals(tuple(names["old_positionals"]), names["n_positional"])
    if {"old_name", "new_name"} <= names.keys():
        return _Renamed(decorated.__name__, names["old_name"], names["new_name"])
    if "random_state_default" in names and "_LegacyRng" in others:
        return _RandomState(others["_LegacyRng"], names["random_state_default"])
    return None


def _decorated(function: Function) -> Iterator[Function]:
    """Yield a function as each of its decorators left it, outermost first."""
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        yield function
        function = inner


@cache
def _former_signatures(function: Function) -> tuple[_Former, ...]:
    return tuple(former for former in map(_read, _decorated(function)) if former is not None)


@cache
def unread(function: Function) -> tuple[str, ...]:
    """Name the modules of decorators of a scanpy function that may take arguments in ways that are not known here."""
    modules = (getattr(each, "__globals__", {}).get("__name__", "") for each in _decorated(function) if not _read(each))
    return tuple(module for module in modules if module not in _HAND_ON)


@cache
def _signature(function: Function) -> inspect.Signature:
    return inspect.signature(function)


def _dispatched(function: Function, first: object) -> Function:
    """Return what a generic function would call for a matrix, were it in memory; the function itself otherwise."""
    if not isinstance(first, OOMMatrix) or not hasattr(function, "dispatch"):
        return function
    return function.dispatch(np.ndarray if first.is_dense else sparse.csr_matrix)


def bind(function: Function, args: Args, kwargs: Kwargs) -> inspect.BoundArguments:
    """Give each argument its name and fill in the defaults.

    Parameters
    ----------
    function
        scanpy's own.
    args, kwargs
        As the user gave them.

    Raises
    ------
    TypeError
        If the function does not take these arguments.
    """
    messages = []
    for former in _former_signatures(function):
        args, kwargs, message = former.update(args, kwargs)
        messages.append(message)
    bound = _signature(_dispatched(function, args[0] if args else None)).bind(*args, **kwargs)
    bound.apply_defaults()
    for message in filter(None, messages):
        warn_user(message, FutureWarning)
    return bound


def _with_random_state(bound: inspect.BoundArguments) -> inspect.BoundArguments:
    """Return the arguments with the `random_state` that stands for their `rng`."""
    parameters = [p.replace(name="random_state") if p.name == "rng" else p for p in bound.signature.parameters.values()]
    arguments = {
        "random_state" if name == "rng" else name: _scanpy.random_state(value) if name == "rng" else value
        for name, value in bound.arguments.items()
    }
    return inspect.BoundArguments(bound.signature.replace(parameters=parameters), arguments)


def for_override(bound: inspect.BoundArguments, override: Function) -> tuple[list[object], Kwargs, str | None]:
    """Arrange a call's arguments for an override.

    It gets scanpy's defaults, so that they are those of the installed version. A parameter that it does not have is
    left out as long as it has its default.

    Returns
    -------
    The arguments by position and by name, and the name of one that the override cannot take, if there is one.
    """
    parameters = _signature(override).parameters
    if "rng" in bound.arguments and "rng" not in parameters and "random_state" in parameters:
        bound = _with_random_state(bound)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    args: list[object] = []
    kwargs: Kwargs = {}
    for name, value in bound.arguments.items():
        parameter = bound.signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs |= value
        elif parameter.kind is parameter.POSITIONAL_ONLY or not (args or kwargs):
            args.append(value)
        elif takes_any or name in parameters:
            kwargs[name] = value
        elif value is not parameter.default:
            return args, kwargs, name
    unknown = None if takes_any else next((name for name in kwargs if name not in parameters), None)
    return args, kwargs, unknown
