"""Who makes passes: by the settings, the environment, a context, or a plugin."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import scanpy_oom
from scanpy_oom import hookimpl
from scanpy_oom.dispatch.plugins.manager import plugin_manager
from scanpy_oom.engine.abc import Distribution, Executor
from scanpy_oom.engine.choice import chosen_engine, chosen_executor
from scanpy_oom.engine.compute import compute
from scanpy_oom.engine.executor import LocalExecutor
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.reductions import AxisStatistics
from scanpy_oom.settings import settings

from ..matrices import annotated, counts, oom


class Machine:
    """An engine of somebody else."""


class OnMachine(Executor):
    """Makes passes on a machine, which is this process."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def run(self, step):
        return LocalExecutor(f"engine {id(self.machine)}").run(step)

    def distribution(self, step):
        return Distribution("a machine", 3, 5_000_000)


class Plugin:
    @hookimpl
    def scanpy_oom_engine(self, engine: object) -> Executor | None:
        return OnMachine(engine) if isinstance(engine, Machine) else None


@pytest.fixture
def machine():
    plugin = Plugin()
    plugin_manager().register(plugin)
    yield Machine()
    plugin_manager().unregister(plugin)


def made_by() -> str:
    """Have a pass made, and return by whom."""
    compute(oom(counts(50, 8)), AxisStatistics())
    return pass_log.recent()[-1].why_not_on_device


def test_threads_are_the_default_and_need_no_dask():
    assert chosen_engine() == "threads"
    assert chosen_executor() is None
    assert made_by() == ""
    with scanpy_oom.engine("threads"):
        assert made_by() == ""


def test_the_engine_of_a_plugin_makes_passes(machine):
    settings.engine = machine
    assert isinstance(chosen_executor(), OnMachine)
    assert made_by() == f"engine {id(machine)}"
    with scanpy_oom.engine("threads"):
        assert made_by() == ""
    settings.engine = None
    with scanpy_oom.engine(machine):
        assert made_by() == f"engine {id(machine)}"
    assert made_by() == ""


def test_explain_tells_what_the_engine_of_a_plugin_says(machine, tmp_path):
    import scanpy as sc

    scanpy_oom.enable()
    annotated(counts(300, 20)).write_h5ad(tmp_path / "a.h5ad")
    adata = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    with scanpy_oom.engine(machine):
        text = str(adata.oom.explain("calculate_qc_metrics", percent_top=[5]))
    assert "1 pass on a machine: 3 tasks, about 5 MB sent between processes" in text
    assert "machine" not in str(adata.oom.explain("calculate_qc_metrics", percent_top=[5]))


def test_an_engine_that_nobody_knows_is_named_with_those_there_are():
    for engine in (object(), 7, ["tcp://here:8786"]):
        said = r"is no engine\. Take 'threads', a dask\.distributed\.Client"
        with pytest.raises(ValueError, match=said), scanpy_oom.engine(engine):
            pass
        settings.engine = engine
        with pytest.raises(ValueError, match="is no engine"):
            made_by()


@pytest.mark.parametrize("name", ["thread", "Dask", "host:8786"])
def test_a_name_that_is_none_is_refused_before_a_pass_is_made(name):
    settings.engine = name
    with pytest.raises(ValueError, match=rf"settings.engine is '{name}', which is no engine"):
        made_by()
    with pytest.raises(ValueError, match="is no engine"), scanpy_oom.engine(name):
        pass


def test_no_name_is_refused_where_it_is_set():
    with pytest.raises(ValueError, match=r"engine must be 'threads', 'dask'.*not ''"):
        settings.engine = ""


def test_a_context_ends_with_an_error_too_and_contexts_may_be_nested(machine):
    with scanpy_oom.engine(machine):
        with pytest.raises(KeyError), scanpy_oom.engine("threads"):
            raise KeyError(chosen_engine())
        assert chosen_engine() is machine
    assert chosen_engine() == "threads"


def test_a_context_is_of_its_own_thread(machine):
    found = []
    with scanpy_oom.engine(machine):
        thread = threading.Thread(target=lambda: found.append(chosen_engine()))
        thread.start()
        thread.join()
    assert found == ["threads"]


def test_the_environment_names_the_engine(monkeypatch):
    monkeypatch.setenv("SCANPY_OOM_ENGINE", "tcp://somewhere:8786")
    assert chosen_engine() == "tcp://somewhere:8786"
    settings.engine = "threads"
    assert chosen_engine() == "threads"


CODE = """
import sys
sys.modules["distributed"] = None  # as where it is not installed
import scanpy_oom
from scanpy_oom.errors import OOMError
import scanpy_oom.dispatch.plugins.manager
with scanpy_oom.engine("threads"):
    pass
try:
    with scanpy_oom.engine("dask"):
        pass
except OOMError as error:
    print(error)
"""


def test_without_dask_its_engine_says_what_to_install():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert "The engine 'dask' needs Dask: `pip install 'scanpy-oom[dask]'`" in found.stdout


def test_results_by_the_engine_of_a_plugin_are_the_same(machine):
    x = oom(counts(700, 9))
    want = compute(x, AxisStatistics()).known
    with scanpy_oom.engine(machine):
        found = compute(x, AxisStatistics()).known
    for name, values in want.items():
        np.testing.assert_array_equal(found[name], values)
