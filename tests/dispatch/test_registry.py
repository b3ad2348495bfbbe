from __future__ import annotations

import inspect
from importlib import import_module
from operator import attrgetter

import pytest
import scanpy as sc

from scanpy_oom.dispatch.arguments import bind, for_override
from scanpy_oom.dispatch.registry import BUILTIN, Override
from scanpy_oom.dispatch.uses import chosen

from ..versions import has

implemented = [override for override in BUILTIN if override.implementation]


def names(override: Override) -> str:
    return override.function


def test_each_function_is_there_once() -> None:
    functions = [override.function for override in BUILTIN]
    assert len(functions) == len(set(functions))


OF_SOME_VERSIONS = {"external.pp.dca", "pp.bbknn", "pp.filter_genes_dispersion", "pp.normalize_per_cell"}


@pytest.mark.parametrize("override", [one for one in BUILTIN if one.function not in OF_SOME_VERSIONS], ids=names)
def test_scanpy_has_the_function(override: Override) -> None:
    assert inspect.isfunction(attrgetter(override.function)(sc))


@pytest.mark.parametrize("override", [one for one in implemented if has(one.function)], ids=names)
def test_an_override_takes_all_arguments_of_the_installed_scanpy(override: Override) -> None:
    scanpys = attrgetter(override.function)(sc)
    module, _, name = override.implementation.partition(":")
    ours = getattr(import_module(module), name)
    parameters = inspect.signature(scanpys).parameters.values()
    taken = inspect.signature(ours).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in taken):  # which are scanpy's own function's
        known = {p.name for p in taken}
        known |= {"rng"} if "random_state" in known else set()  # which is made from it
        assert {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} <= known
    required = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    *_, unknown = for_override(bind(scanpys, tuple(required), {}), ours)
    assert unknown is None


def test_a_plan_of_former_times_is_warned_of_and_not_called() -> None:
    for make in (
        lambda: Override("pp.log1p", plan="no.such:plan"),
        lambda: Override("pp.log1p", None, chosen, "no:plan"),
    ):
        with pytest.warns(DeprecationWarning, match="`plan=` of the override of 'pp.log1p' is no longer called"):
            override = make()
        assert not override.plannable
