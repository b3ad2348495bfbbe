"""``adata.oom.explain("pca", ...)``: the plan of a scanpy call, by the decisions of the dispatcher, before it runs."""

from __future__ import annotations

import warnings
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import scanpy as sc
from scanpy.experimental import pp as _experimental_pp  # noqa: F401 - not there until it is imported

from .. import _scanpy
from ..engine.budget import require
from ..engine.explain.costs import explain_steps
from ..engine.explain.explanation import Explanation, PlannedPass
from ..engine.explain.plan import planned
from ..errors import MemoryBudgetExceeded, UnsupportedOutOfMemory
from ..queries.answers import ENGINE
from ..settings import format_bytes, settings
from . import slots
from .apart import Apart
from .arguments import bind
from .estimates import in_words
from .patching.patch import scanpys
from .plugins.manager import overrides
from .resolve import matrices_used, prepared, used_instead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from inspect import BoundArguments

    from anndata import AnnData

    from .arguments import Function
    from .registry import Override
    from .slots import Used

__all__ = ["explain"]

_NAMESPACES = ("pp", "tl", "get", "metrics", "pl", "experimental.pp")


def explain(adata: AnnData, name: str, args: Sequence[object], arguments: dict[str, object]) -> Explanation:
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
    with _scanpy.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the call itself will give them
        try:
            bound = bind(function, (adata, *args), arguments)
        except TypeError as error:
            msg = f"sc.{name} does not take these arguments: {error}."
            raise TypeError(msg) from error
        override = overrides().get(name)
        if override is None:
            reason = "it takes what it needs by indexing, or through functions that work from disk"
            return Explanation(f"sc.{name}", "scanpy as it is", reason, None)
        if override.fast is not None and settings.graph == "fast":
            reason = "settings.graph is 'fast'; arguments that it does not cover are left to scanpy"
            return Explanation(f"sc.{name}", "out of memory", reason, None)
        used = matrices_used(override, bound.arguments)
        if not used:
            reason = used_instead(override, bound.arguments) or "what it uses is in memory"
            costs = in_words(name, bound.arguments)
            return Explanation(f"sc.{name}", "scanpy as it is", "; ".join(filter(None, (reason, costs))))
        try:
            return _out_of_memory_plan(override, bound, used)
        except UnsupportedOutOfMemory as error:
            return _in_memory_plan(name, used, error.reason, override.advice)
        except MemoryBudgetExceeded as error:
            return Explanation(f"sc.{name}", "refused", str(error))


def _find(name: str) -> tuple[str, Function]:
    """Return a function and its name below scanpy: that of its override, where it has several."""
    below = name.removeprefix("scanpy.").removeprefix("sc.")
    for path in [below] if "." in below else [f"{namespace}.{below}" for namespace in _NAMESPACES]:
        try:
            function = attrgetter(path)(sc)
        except AttributeError:
            continue
        if callable(function):
            same = (known for known in overrides() if scanpys(known) is function)
            return next(same, path), function
    where = "" if "." in below else " in " + ", ".join(f"sc.{namespace}" for namespace in _NAMESPACES)
    msg = f"scanpy has no function {name!r}{where}. Name one as in `adata.oom.explain('pp.pca', n_comps=30)`."
    raise ValueError(msg)


def _out_of_memory_plan(override: Override, bound: BoundArguments, used: Sequence[Used]) -> Explanation:
    run, args, kwargs = prepared(override, bound)
    if not args:  # there is no implementation that takes them: this says why
        run()
    name, where = f"sc.{override.function}", " and ".join(slots.attribute(item.slot) for item in used)
    if not override.plannable:
        return Explanation(name, "out of memory", f"{where} is on disk", None)
    if kwargs.get("copy") and kwargs.get("inplace", True):
        kwargs["copy"] = False  # what is planned works on copies
    apart = Apart()
    arguments = {key: apart.named(key, value) for key, value in kwargs.items()}
    found = planned(partial(run, *map(apart.of, args), **arguments))
    return Explanation(name, "out of memory", found.reason, explain_steps(found.steps, where), found.results)


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
        read = partial(ENGINE.collect, item.matrix, dense=item.matrix.is_dense, what="to_memory")
        passes += explain_steps(planned(read).steps, slots.attribute(item.slot))
    limit = format_bytes(settings.memory_limit)
    reason = f"{reason}; {where} in memory would take {format_bytes(nbytes)}, within the limit of {limit}"
    return Explanation(f"sc.{name}", "materialised", reason, tuple(passes))
