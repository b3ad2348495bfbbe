"""The plugins: what comes with scanpy-oom, and what installed distributions announce."""

from __future__ import annotations

import warnings
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import TYPE_CHECKING, Any

import pluggy

from . import builtin, hookspecs
from .hookspecs import GROUP
from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..matrix.engine import Engine
    from .hookspecs import DispatchedCall
    from .table import Override

__all__ = ["engine", "formats", "kernels", "observe", "overrides", "plugin_manager"]

_lock = RLock()
_manager: pluggy.PluginManager | None = None


def plugin_manager() -> pluggy.PluginManager:
    """Return the plugin manager, which loads the plugins when it is first asked for.

    Warns
    -----
    RuntimeWarning
        For each plugin that fails to load. It is left out, and the others are loaded.
    """
    global _manager  # noqa: PLW0603
    with _lock:
        if _manager is None:
            _manager = pluggy.PluginManager(GROUP)
            _manager.add_hookspecs(hookspecs)
            _manager.register(builtin, "built-in")
            _manager.register(log, "report")
            for entry_point in entry_points(group=GROUP):
                _load(_manager, entry_point)
        return _manager


def _load(manager: pluggy.PluginManager, entry_point: EntryPoint) -> None:
    name = entry_point.name
    try:
        plugin = entry_point.load()
        manager.register(plugin, name)
        manager.check_pending()
    except Exception as error:  # noqa: BLE001
        if manager.has_plugin(name):
            manager.unregister(name=name)
        origin = f" ({entry_point.dist.name} {entry_point.dist.version})" if entry_point.dist else ""
        msg = (
            f"The scanpy-oom plugin {name!r}{origin} could not be loaded and is left out: "
            f"{type(error).__name__}: {error}"
        )
        warnings.warn(msg, RuntimeWarning, stacklevel=2)


def formats() -> Any:
    """Return the hooks, of which `scanpy_oom_read(path=..., wrap=...)` reads a file."""
    return plugin_manager().hook


def overrides() -> Mapping[str, Override]:
    """Return the override of each function, by its name below ``scanpy``."""
    found: dict[str, Override] = {}
    for several in plugin_manager().hook.scanpy_oom_overrides():
        for override in several:
            found.setdefault(override.function, override)
    return found


def kernels(device: str) -> Mapping[str, Callable[..., Any]]:
    """Return the kernels for a device, by name.

    Raises
    ------
    ValueError
        If nothing that is registered has kernels for it.
    """
    return _found(plugin_manager().hook.scanpy_oom_kernels(device=device), "kernels for the device", device)


def engine(name: str) -> Engine:
    """Return an engine by its name.

    Raises
    ------
    ValueError
        If nothing that is registered has an engine of this name.
    """
    return _found(plugin_manager().hook.scanpy_oom_engine(name=name), "engine", name)


def _found(result: Any, what: str, name: str) -> Any:
    if result is None:
        plugins = ", ".join(name for name, _ in plugin_manager().list_name_plugin())
        msg = f"There is no {what} {name!r}. Registered plugins: {plugins}. Is the one that adds it installed?"
        raise ValueError(msg)
    return result


def observe(call: DispatchedCall) -> None:
    """Tell the observers of a call that has ended. One that fails is warned of: the call itself is done."""
    try:
        plugin_manager().hook.scanpy_oom_observe(call=call)
    except Exception as error:  # noqa: BLE001
        msg = f"A scanpy-oom observer failed after {call.function}: {type(error).__name__}: {error}"
        warnings.warn(msg, RuntimeWarning, stacklevel=2)
