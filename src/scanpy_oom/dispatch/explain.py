"""``adata.oom.explain("pca", ...)``: what a scanpy call would do, by the decisions of the gate, before it runs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import scanpy as sc
from scanpy.experimental import pp as _experimental_pp  # noqa: F401 - not there until it is imported

from ..errors import MemoryBudgetExceeded, UnsupportedOutOfMemory
from ..passes import outline
from ..passes.budget import require
from ..passes.explain import explain_steps
from ..passes.explanation import Explanation, PlannedPass
from ..settings import format_bytes, settings
from . import slots
from .arguments import bind
from .gate import _elsewhere, _out_of_memory, _prepared
from .manager import overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from inspect import BoundArguments

    from anndata import AnnData

    from .gate import Used
    from .table import Override

__all__ = ["explain"]

_NAMESPACES = ("pp", "tl", "get", "metrics", "pl", "experimental.pp")


def explain(adata: AnnData, name: str, args: Sequence[Any], arguments: dict[str, Any]) -> Explanation:
    """Plan a scanpy call. Nothing is changed, and no values are read.

    Parameters
    ----------
    adata
        Its first argument.
    name
        The function, with or without its namespace.
    args, arguments
        What follows, by position and by name.

    Raises
    ------
    ValueError
        If scanpy has no such function.
    TypeError
        If it does not take these arguments.
    """
    name, function = _find(name)
    with sc.settings.verbosity.override(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the call itself will give them
        try:
            bound = bind(function, (adata, *args), arguments, stacklevel=2)
        except TypeError as error:
            msg = f"sc.{name} does not take these arguments: {error}."
            raise TypeError(msg) from error
        override = overrides().get(name)
        if override is None:
            reason = "it takes what it needs by indexing, or through functions that run out of memory"
            return Explanation(f"sc.{name}", "scanpy as it is", reason, None)
        used = _out_of_memory(override, bound.arguments)
        if not used:
            reason = _elsewhere(override, bound.arguments) or "what it uses is in memory"
            return Explanation(f"sc.{name}", "scanpy as it is", reason)
        try:
            return _out_of_memory_plan(override, bound, used)
        except UnsupportedOutOfMemory as error:
            return _in_memory_plan(name, used, error.reason, override.advice)
        except MemoryBudgetExceeded as error:
            return Explanation(f"sc.{name}", "refused", str(error))


def _find(name: str) -> tuple[str, Callable[..., Any]]:
    """Return a function and its name below scanpy: that of its override, where it has several."""
    below = name.removeprefix("scanpy.").removeprefix("sc.")
    for path in [below] if "." in below else [f"{namespace}.{below}" for namespace in _NAMESPACES]:
        try:
            function = attrgetter(path)(sc)
        except AttributeError:
            continue
        if callable(function):
            same = (known for known in overrides() if attrgetter(known)(sc) is function)
            return next(same, path), function
    where = "" if "." in below else " in " + ", ".join(f"sc.{namespace}" for namespace in _NAMESPACES)
    msg = f"scanpy has no function {name!r}{where}. Name one as in `adata.oom.explain('pp.pca', n_comps=30)`."
    raise ValueError(msg)


def _out_of_memory_plan(override: Override, bound: BoundArguments, used: Sequence[Used]) -> Explanation:
    run, args, _ = _prepared(override, bound)
    if not args:  # there is no implementation that takes them: this says why
        run()
    name, where = f"sc.{override.function}", " and ".join(slots.attribute(item.slot) for item in used)
    if override.plan is None:
        return Explanation(name, "out of memory", f"{where} is on disk", None)
    plan, args, kwargs = _prepared(replace(override, implementation=override.plan), bound)
    found: outline.Outline = plan(*args, **kwargs)
    passes = explain_steps(found.steps, where)
    return Explanation(name, "out of memory", found.reason, passes, found.results)


def _in_memory_plan(name: str, used: Sequence[Used], reason: str, advice: str) -> Explanation:
    """Plan scanpy's own function, with the matrices that it uses in memory."""
    nbytes = sum(item.matrix.nbytes_in_memory for item in used)
    where = " and ".join(slots.attribute(item.slot) for item in used)
    what = f"sc.{name}, which needs {where} in memory ({reason}),"
    try:
        require(nbytes, what, advice)
    except MemoryBudgetExceeded as error:
        return Explanation(f"sc.{name}", "refused", str(error))
    passes: list[PlannedPass] = []
    for item in used:
        passes += explain_steps([outline.collection(item.matrix, "to_memory")], slots.attribute(item.slot))
    limit = format_bytes(settings.memory_limit)
    reason = f"{reason}; {where} in memory would take {format_bytes(nbytes)}, within the limit of {limit}"
    return Explanation(f"sc.{name}", "materialised", reason, tuple(passes))
