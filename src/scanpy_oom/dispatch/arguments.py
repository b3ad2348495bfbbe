"""A call's arguments by name, as scanpy itself would understand them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse

from ..matrix import OOMMatrix

__all__ = ["bind", "for_override"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class _OldPositionals:
    """Arguments that scanpy still takes by position, with a warning (its decorator ``old_positionals``)."""

    names: tuple[str, ...]
    n_positional: int

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], str]:
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

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], str]:
        if self.old not in kwargs:
            return args, kwargs, ""
        renamed = {self.new if name == self.old else name: value for name, value in kwargs.items()}
        return args, renamed, f"In function `{self.function}`, argument `{self.old}` was renamed to `{self.new}`."


@cache
def _former_signatures(function: Function) -> tuple[_OldPositionals | _Renamed, ...]:
    """Read from the decorators of a scanpy function, outermost first, which former ways to call it they allow."""
    found: list[_OldPositionals | _Renamed] = []
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        names = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        if "old_positionals" in names:
            found.append(_OldPositionals(tuple(names["old_positionals"]), names["n_positional"]))
        elif {"old_name", "new_name"} <= names.keys():
            found.append(_Renamed(function.__name__, names["old_name"], names["new_name"]))
        function = inner
    return tuple(found)


@cache
def _signature(function: Function) -> inspect.Signature:
    return inspect.signature(function)


def _dispatched(function: Function, first: object) -> Function:
    """Return what a generic function would call for a matrix, were it in memory; the function itself otherwise."""
    if not isinstance(first, OOMMatrix) or not hasattr(function, "dispatch"):
        return function
    return function.dispatch(np.ndarray if first.is_dense else sparse.csr_matrix)


def bind(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], stacklevel: int) -> inspect.BoundArguments:
    """Give each argument its name and fill in the defaults.

    Parameters
    ----------
    function
        scanpy's own.
    args, kwargs
        As the user gave them.
    stacklevel
        Of the user's call, as seen from here, for warnings of former ways to call it.

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
        warnings.warn(message, FutureWarning, stacklevel=stacklevel)
    return bound


def for_override(bound: inspect.BoundArguments, override: Function) -> tuple[list[Any], dict[str, Any], str | None]:
    """Arrange a call's arguments for an override.

    It gets scanpy's defaults, so that they are those of the installed version. A parameter that it does not have is
    left out as long as it has its default.

    Returns
    -------
    The arguments by position and by name, and the name of one that the override cannot take, if there is one.
    """
    parameters = _signature(override).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
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
