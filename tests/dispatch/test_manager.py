from __future__ import annotations

import pytest

from scanpy_oom import kernels, passes
from scanpy_oom.dispatch import builtin, manager
from scanpy_oom.dispatch.table import BUILTIN


def test_what_is_built_in_is_a_plugin() -> None:
    assert manager.plugin_manager().get_plugin("built-in") is builtin


def test_the_manager_is_one() -> None:
    assert manager.plugin_manager() is manager.plugin_manager()


def test_overrides_are_found_by_name() -> None:
    found = manager.overrides()
    assert [found[override.function] for override in BUILTIN] == list(BUILTIN)


def test_engines_are_found_by_name() -> None:
    assert manager.engine("threads") is passes.ENGINE


def test_kernels_are_found_by_device() -> None:
    assert manager.kernels("cpu") == {name: getattr(kernels, name) for name in kernels.__all__}


def test_what_is_not_registered_is_named() -> None:
    with pytest.raises(ValueError, match=r"no engine 'steam'.*built-in"):
        manager.engine("steam")
    with pytest.raises(ValueError, match=r"no kernels for the device 'tpu'.*built-in"):
        manager.kernels("tpu")
