from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest

from scanpy_oom import OOMMatrix, hookimpl
from scanpy_oom.dispatch.plugins import builtin, manager
from scanpy_oom.dispatch.registry import BUILTIN
from scanpy_oom.dispatch.telemetry.log import log
from scanpy_oom.storage.sources.memory import MemorySource

from ...matrices import annotated, counts, dense

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_built_in_is_a_plugin() -> None:
    assert manager.plugin_manager().get_plugin("built-in") is builtin


def test_a_part_of_the_package_is_a_plugin_in_every_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_own", dict(manager._own))
    monkeypatch.setattr(manager, "_manager", None)
    manager.add_own(before := Observer(), "before")
    manager.plugin_manager()
    manager.add_own(after := Observer(), "after")
    for name, plugin in {"before": before, "after": after, "report": log}.items():
        assert manager.plugin_manager().get_plugin(name) is plugin


class Observer:
    """A plugin without hooks."""


def test_the_manager_is_one() -> None:
    assert manager.plugin_manager() is manager.plugin_manager()


def test_an_interrupt_while_plugins_are_loaded_has_them_loaded_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager, "_manager", None)
    with monkeypatch.context() as patched:
        patched.setattr(manager, "entry_points", raises)
        with pytest.raises(KeyboardInterrupt):
            manager.plugin_manager()
    assert manager.overrides()


def raises(**_: object) -> None:
    raise KeyboardInterrupt


def test_overrides_are_found_by_name() -> None:
    found = manager.overrides()
    assert [found[override.function] for override in BUILTIN] == list(BUILTIN)


class Stores:
    """A plugin that reads Zarr stores, or none of them."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.asked: list[tuple[str, str]] = []

    @hookimpl
    def scanpy_oom_read(self, path: Path, wrap: Any, format: str) -> ad.AnnData | None:
        self.asked.append((path.name, format))
        return None if self.values is None else ad.AnnData(wrap(MemorySource(self.values)))


@pytest.mark.parametrize("reads", [True, False])
def test_plugins_are_asked_for_zarr_stores_as_for_other_files(tmp_path: Path, reads: bool) -> None:
    pytest.importorskip("zarr")
    a = annotated(counts(20, 5))
    a.write_zarr(tmp_path / "a.zarr")
    other = counts(3, 4)
    plugin = Stores(other if reads else None)
    manager.plugin_manager().register(plugin)
    try:
        found = ad.read_zarr(tmp_path / "a.zarr", backed="oom")
    finally:
        manager.plugin_manager().unregister(plugin)
    assert plugin.asked == [("a.zarr", "zarr")]
    assert isinstance(found.X, OOMMatrix)
    assert found.X.backend == ("memory" if reads else "zarr")
    np.testing.assert_array_equal(dense(found.X), dense(other if reads else a.X))
