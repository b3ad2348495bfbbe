"""The page of compatibility, held to the table of overrides and to the installed scanpy."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

import pytest
import scanpy as sc

from scanpy_oom.dispatch.registry import BUILTIN

INSTALLED = ".".join(version("scanpy").split(".")[:2])

SCRIPT = Path(__file__).parents[1] / "docs" / "compatibility.py"


@pytest.fixture(scope="module")
def table():
    if not SCRIPT.is_file():
        pytest.skip("the documentation is not at hand")
    spec = importlib.util.spec_from_file_location("compatibility", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setitem(sys.modules, "compatibility", module)  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    yield module
    monkeypatch.undo()


def functions(namespace: str) -> set[str]:
    module = attrgetter(namespace)(sc)
    found = {name for name in dir(module) if not name.startswith("_") and inspect.isfunction(getattr(module, name))}
    return {f"{namespace}.{name}" for name in found}


def test_every_function_of_the_installed_scanpy_has_one_row(table):
    rows = [row.function for row in table.ROWS]
    assert len(rows) == len(set(rows))
    for namespace in table.NAMESPACES:
        here = {row.function for row in table.ROWS if row.is_in(INSTALLED)}
        assert {name for name in here if name.rpartition(".")[0] == namespace} == functions(namespace)


def test_every_argument_of_the_installed_scanpy_is_named_and_no_other(table):
    for row in table.ROWS:
        if row.is_in(INSTALLED):
            parameters = inspect.signature(attrgetter(row.function)(sc)).parameters
            assert row.names(INSTALLED) == parameters.keys(), row.function


def test_the_page_was_held_to_a_version_of_the_installed_series(table):
    assert INSTALLED in {".".join(version.split(".")[:2]) for version in table.HELD_TO}


def test_what_runs_out_of_memory_says_in_how_many_passes_and_what_comes_out(table):
    for row in table.ROWS:
        if row.runs != "scanpy, in memory":
            assert row.passes, row.function
            assert row.result, row.function


def test_every_override_of_these_namespaces_has_a_row(table):
    rows = {row.function for row in table.ROWS}
    assert {o.function for o in BUILTIN if o.function.rpartition(".")[0] in table.NAMESPACES} <= rows


def test_the_page_is_what_the_script_writes(table):
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run `python docs/compatibility.py`"
