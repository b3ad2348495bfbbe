from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import MemoryBudgetExceeded, OOMMatrix, Override, UnsupportedOutOfMemory, hookimpl, settings
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.dispatch import resolve
from scanpy_oom.dispatch import uses as rules
from scanpy_oom.dispatch.plugins.hookspecs import DispatchedCall
from scanpy_oom.dispatch.plugins.manager import plugin_manager
from scanpy_oom.dispatch.resolve import look
from scanpy_oom.dispatch.telemetry.log import Log


@dataclass
class Plugin:
    """Overrides functions and keeps what it observes."""

    overrides: list[Override] = field(default_factory=list)
    calls: list[DispatchedCall] = field(default_factory=list)

    @hookimpl
    def scanpy_oom_overrides(self) -> list[Override]:
        return self.overrides

    @hookimpl
    def scanpy_oom_observe(self, call: DispatchedCall) -> None:
        self.calls.append(call)


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    plugin = Plugin()
    plugin_manager().register(plugin)
    yield plugin
    plugin_manager().unregister(plugin)


def test_nothing_is_decided_before_something_is_out_of_memory(
    memory: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "log", Log())
    function = sc.pp.log1p.__wrapped__
    assert look(function, "pp.log1p", (memory,), {}) is None
    assert look(function, "pp.log1p", (memory.X,), {}) is None
    assert look(function, "pp.log1p", (), {"data": memory[:3]}) is None


def test_data_in_memory_beside_those_on_disk_are_scanpys_own(
    oom: ad.AnnData, memory: ad.AnnData, plugin: Plugin
) -> None:
    sc.pp.log1p(memory)
    (call,) = plugin.calls
    assert (call.function, call.how) == ("pp.log1p", "scanpy as it is")
    assert call.reason.startswith("its data are in memory")
    assert (call.passes, call.bytes_read, call.error) == (0, 0, None)


def test_the_matrix_decides_and_not_the_anndata(oom: ad.AnnData, plugin: Plugin) -> None:
    oom.layers["mine"] = oom.X.to_memory()
    sc.pp.log1p(oom, layer="mine")
    assert isinstance(oom.X, OOMMatrix)
    sc.pp.log1p(oom)
    brought, of_layer, of_x = plugin.calls
    assert (brought.how, of_layer.how, of_x.how) == ("materialised", "scanpy as it is", "out of memory")
    assert of_layer.reason.startswith("uses layers['mine'], which is in memory")
    assert of_x.reason == "X is on disk"


def test_a_view_is_out_of_memory_as_what_it_is_a_view_of(oom: ad.AnnData, plugin: Plugin) -> None:
    sc.pp.calculate_qc_metrics(oom[:10, :20], percent_top=None)
    assert [call.how for call in plugin.calls] == ["out of memory"]


def test_a_bare_matrix_is_run_out_of_memory(oom: ad.AnnData, plugin: Plugin) -> None:
    kept, counts = sc.pp.filter_cells(oom.X, min_counts=10)
    expected = sc.pp.filter_cells(oom.X.to_memory(), min_counts=10)
    np.testing.assert_array_equal(kept, expected[0])
    np.testing.assert_array_equal(counts, expected[1])
    of_disk, brought, of_memory = plugin.calls
    assert (of_disk.how, of_disk.reason) == ("out of memory", "the matrix is on disk")
    assert (brought.how, of_memory.how) == ("materialised", "scanpy as it is")
    assert of_memory.reason.startswith("its data are in memory since X.to_memory")


def test_an_override_of_a_plugin_comes_before_the_built_in_one(oom: ad.AnnData, plugin: Plugin) -> None:
    def log1p(data: ad.AnnData, *, base: float | None = None) -> str:
        return f"base {base}"

    plugin.overrides = [Override("pp.log1p", log1p)]
    assert sc.pp.log1p(oom, base=2) == "base 2"


def test_an_override_may_stand_in_another_module(oom: ad.AnnData, plugin: Plugin) -> None:
    plugin.overrides = [Override("pp.sqrt", "inspect:unwrap")]
    assert sc.pp.sqrt(oom) is oom


def test_an_argument_that_an_override_does_not_know_is_not_ignored(oom: ad.AnnData, plugin: Plugin) -> None:
    def log1p(data: ad.AnnData) -> str:
        return "ran"

    plugin.overrides = [Override("pp.log1p", log1p)]
    assert sc.pp.log1p(oom) == "ran"
    sc.pp.log1p(oom, base=2)
    assert plugin.calls[-1].how == "materialised"
    assert plugin.calls[-1].reason == "its out-of-memory version does not know the argument 'base'"


def test_an_override_that_declines_is_replaced_by_scanpy(oom: ad.AnnData, memory: ad.AnnData, plugin: Plugin) -> None:
    def log1p(data: ad.AnnData, **kwargs: Any) -> None:
        reason = "of the weather"
        raise UnsupportedOutOfMemory(reason)

    plugin.overrides = [Override("pp.log1p", log1p)]
    sc.pp.log1p(oom)
    sc.pp.log1p(memory)
    assert (plugin.calls[0].how, plugin.calls[0].reason) == ("materialised", "of the weather")
    np.testing.assert_array_equal(oom.X.toarray(), memory.X.toarray())


@pytest.mark.parametrize("error", [ValueError, MemoryBudgetExceeded, KeyboardInterrupt])
def test_other_errors_of_an_override_are_neither_hidden_nor_forgotten(
    oom: ad.AnnData, plugin: Plugin, error: type[BaseException]
) -> None:
    def log1p(data: ad.AnnData, **kwargs: Any) -> None:
        raise error

    plugin.overrides = [Override("pp.log1p", log1p)]
    with pytest.raises(error):
        sc.pp.log1p(oom)
    assert [(call.how, call.error) for call in plugin.calls] == [("out of memory", error.__name__)]


def test_wrong_arguments_are_refused_by_scanpy_itself(oom: ad.AnnData, plugin: Plugin) -> None:
    with pytest.raises(TypeError, match=r"combat\(\).*no_such"):
        sc.pp.combat(oom, no_such=1)
    with pytest.raises(KeyError, match="no_such"):
        sc.pp.log1p(oom, layer="no_such")
    assert [(call.how, call.error) for call in plugin.calls] == [
        ("scanpy as it is", "TypeError"),
        ("scanpy as it is", "KeyError"),
    ]


@pytest.mark.usefixtures("no_overrides")
def test_what_does_not_fit_in_memory_is_refused_and_told(
    oom: ad.AnnData, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "_memory_limit", 100)
    with pytest.raises(MemoryBudgetExceeded):
        sc.get.aggregate(oom, "kind", "mean")
    (call,) = plugin.calls
    assert (call.how, call.error) == ("materialised", "MemoryBudgetExceeded")
    assert call.reason == "there is no out-of-memory version of it yet"


def test_observers_are_told_what_a_call_has_cost(oom: ad.AnnData, plugin: Plugin) -> None:
    plugin.overrides = [Override("tl.score_genes", None, rules.raw_if_present)]
    sc.pp.calculate_qc_metrics(oom, percent_top=None, inplace=True)
    sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=False)
    out_of_memory, materialised = (call for call in plugin.calls if call.caller is None)
    assert (out_of_memory.function, out_of_memory.how) == ("pp.calculate_qc_metrics", "out of memory")
    assert out_of_memory.reason == "X is on disk"
    assert out_of_memory.passes == 1
    assert 0 < out_of_memory.bytes_read <= oom.X.source.nbytes
    assert out_of_memory.seconds > 0
    assert (materialised.function, materialised.how) == ("tl.score_genes", "materialised")
    assert materialised.reason == "there is no out-of-memory version of it yet"
    assert materialised.passes >= 1
    assert 0 < out_of_memory.started <= out_of_memory.started + out_of_memory.seconds <= materialised.started


def test_a_call_within_a_call_is_looked_at_too(oom: ad.AnnData, plugin: Plugin) -> None:
    sc.pp.recipe_zheng17(oom, n_top_genes=30)
    steps = {"filter_genes", "normalize_total", "log1p", "scale"}
    steps |= set() if SCANPY_1_13 else {"filter_genes_dispersion"}
    *within, recipe = plugin.calls
    assert {f"pp.{step}" for step in steps} <= {call.function for call in within}
    assert {(call.depth, call.caller) for call in within} == {(1, "pp.recipe_zheng17")}
    assert (recipe.function, recipe.how) == ("pp.recipe_zheng17", "scanpy as it is")
    assert (recipe.depth, recipe.caller) == (0, None)
    assert recipe.reason == "functions that it calls read from disk"
    for cost in ("passes", "bytes_read"):
        assert getattr(recipe, cost) == sum(getattr(call, cost) for call in within) > 0


def test_functions_that_index_the_matrix_are_measured(oom: ad.AnnData, plugin: Plugin) -> None:
    sc.get.obs_df(oom, ["gene1", "gene2"])
    (call,) = plugin.calls
    assert (call.how, call.reason) == ("scanpy as it is", "takes the part that it needs from disk")
    assert call.passes >= 1
    assert call.bytes_read > 0


def test_functions_that_touch_no_matrix_say_what_they_use(oom: ad.AnnData, plugin: Plugin) -> None:
    sc.pp.neighbors(oom, use_rep="X_pca", n_neighbors=5)
    sc.tl.diffmap(oom, n_comps=3)
    calls = {call.function: call for call in plugin.calls}
    assert calls["pp.neighbors"].reason == "uses obsm['X_pca']"
    assert calls["tl.diffmap"].reason == "no matrix on disk is touched"
    assert {(call.how, call.passes, call.bytes_read) for call in calls.values()} == {("scanpy as it is", 0, 0)}


def test_a_file_that_is_opened_is_a_call(h5ad: Path, tmp_path: Path, plugin: Plugin) -> None:
    sc.read_h5ad(h5ad, backed="oom")
    with pytest.raises(FileNotFoundError):
        sc.read_h5ad(tmp_path / "no.h5ad", backed="oom")
    sc.read_h5ad(h5ad)
    assert [(call.function, call.how, call.passes, call.error) for call in plugin.calls] == [
        ("read_h5ad", "out of memory", 0, None),
        ("read_h5ad", "out of memory", 0, "FileNotFoundError"),
    ]


def test_threads_do_not_mix_up_who_calls_whom(h5ad: Path, plugin: Plugin) -> None:
    def run() -> None:
        sc.pp.recipe_zheng17(sc.read_h5ad(h5ad, backed="oom"), n_top_genes=30)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(run) for _ in range(4)]:
            future.result()
    for call in plugin.calls:
        assert call.caller == ("pp.recipe_zheng17" if call.depth else None)
    assert [call.depth for call in plugin.calls].count(0) == 8


def test_memory_that_a_call_takes_for_a_while_is_seen(oom: ad.AnnData, plugin: Plugin) -> None:
    def log1p(data: ad.AnnData, **kwargs: Any) -> None:
        taken = np.ones(200_000_000, np.uint8)
        time.sleep(0.2)
        del taken

    plugin.overrides = [Override("pp.log1p", log1p)]
    sc.pp.log1p(oom)
    assert 150_000_000 < plugin.calls[-1].peak_memory < 1_000_000_000


def test_an_observer_that_fails_harms_no_call(oom: ad.AnnData, plugin: Plugin) -> None:
    plugin.calls = None
    with pytest.warns(RuntimeWarning, match=r"observer failed after pp\.log1p: AttributeError"):
        sc.pp.log1p(oom)
    assert "log1p" in oom.uns
