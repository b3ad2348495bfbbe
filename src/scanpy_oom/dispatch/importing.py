"""Has anndata and scanpy patched when they are imported."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from .patching import patch, unpatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["disable", "enable", "find_spec", "load_ipython_extension", "unload_ipython_extension"]


def _hook() -> Any:
    import _scanpy_oom_activate

    return _scanpy_oom_activate.Hook


def enable() -> None:
    """Make ``backed="oom"`` known to anndata and scanpy, whether they are imported already or will be.

    This happens of itself where the package is installed, unless ``SCANPY_OOM_DISABLE=1`` is set. Functions that other
    modules imported by name from scanpy before this call stay unwrapped in those modules.
    """
    hook = _hook()
    if hook not in sys.meta_path:
        sys.meta_path.insert(0, hook)
    patch()


def disable() -> None:
    """Give anndata and scanpy their own functions back, in every module of theirs."""
    hook = _hook()
    if hook in sys.meta_path:
        sys.meta_path.remove(hook)
    unpatch()


def load_ipython_extension(ipython: object) -> None:
    """Do what :func:`enable` does, for ``%load_ext scanpy_oom``."""
    enable()


def unload_ipython_extension(ipython: object) -> None:
    """Do what :func:`disable` does, for ``%unload_ext scanpy_oom``."""
    disable()


def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """Return what the finders behind the hook find, set up so that executing it patches it."""
    finders = iter(list(sys.meta_path))
    # Those in front of the hook were asked already, or are asking it: they are skipped.
    if _hook() not in finders:
        return None
    for finder in finders:
        spec = finder.find_spec(name, path, target)
        if spec is not None:
            _patch_when_executed(spec.loader)
            return spec
    return None


def _patch_when_executed(loader: Any) -> None:
    # The loader keeps its type and all that importlib, pkgutil or inspect may ask of it; it gets one attribute, until it
    # is used. A spec that somebody only looked at leaves nothing behind.
    if isinstance(loader, type) or not hasattr(loader, "__dict__"):
        return
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        vars(loader).pop("exec_module", None)
        execute(module)
        _patch()

    loader.exec_module = exec_module


def _patch() -> None:
    try:
        patch()
    except Exception as error:  # noqa: BLE001 (importing scanpy works, even in a version that is laid out differently)
        msg = f"scanpy-oom could not be activated, so `backed='oom'` is not known: {type(error).__name__}: {error}"
        warnings.warn(msg, RuntimeWarning, stacklevel=2)
