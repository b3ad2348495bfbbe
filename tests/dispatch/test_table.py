from __future__ import annotations

import inspect
from importlib import import_module
from operator import attrgetter

import pytest
import scanpy as sc

from scanpy_oom.dispatch.arguments import bind, for_override
from scanpy_oom.dispatch.table import BUILTIN, Override

implemented = [override for override in BUILTIN if override.implementation]


def names(override: Override) -> str:
    return override.function


def test_each_function_is_there_once() -> None:
    functions = [override.function for override in BUILTIN]
    assert len(functions) == len(set(functions))


@pytest.mark.parametrize("override", BUILTIN, ids=names)
def test_scanpy_has_the_function(override: Override) -> None:
    assert inspect.isfunction(attrgetter(override.function)(sc))


@pytest.mark.parametrize("override", implemented, ids=names)
def test_an_override_takes_all_arguments_of_the_installed_scanpy(override: Override) -> None:
    scanpys = attrgetter(override.function)(sc)
    module, _, name = override.implementation.partition(":")
    ours = getattr(import_module(module), name)
    parameters = inspect.signature(scanpys).parameters.values()
    taken = inspect.signature(ours).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in taken):  # which are scanpy's own function's
        assert {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} <= {p.name for p in taken}
    required = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    *_, unknown = for_override(bind(scanpys, tuple(required), {}, stacklevel=1), ours)
    assert unknown is None
