"""The plugins: what comes with scanpy-oom, and what installed distributions announce."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import TYPE_CHECKING

import pluggy

from ...engine.choice import find_executors_with
from ...messages import warn_user
from . import builtin, hookspecs
from .hookspecs import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..registry import Override
    from .hookspecs import DispatchedCall

__all__ = ["add_own", "formats", "observe", "overrides", "plugin_manager"]

_lock = RLock()
_manager: pluggy.PluginManager | None = None
_own: dict[str, object] = {"built-in": builtin}
"""What comes with scanpy-oom, by name."""


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
            _manager = pluggy.PluginManager(GROUP)  # at once, for plugins that ask for it while they are loaded
            try:
                _fill(_manager)
            except BaseException:  # Ctrl-C, say: the next call begins anew
                _manager = None
                raise
        return _manager


def _fill(manager: pluggy.PluginManager) -> None:
    manager.add_hookspecs(hookspecs)
    for name, plugin in list(_own.items()):
        if not manager.has_plugin(name):  # which an import in the midst of this may have added
            manager.register(plugin, name)
    for entry_point in entry_points(group=GROUP):
        _load(manager, entry_point)


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
        warn_user(msg, RuntimeWarning)


def add_own(plugin: object, name: str) -> None:
    """Make a part of this package a plugin, from when it is imported on."""
    with _lock:
        _own[name] = plugin
        if _manager is not None and not _manager.has_plugin(name):
            _manager.register(plugin, name)


def formats() -> pluggy.HookRelay:
    """Return the hooks, of which `scanpy_oom_read(path=..., wrap=..., format=...)` reads a file."""
    return plugin_manager().hook


def overrides() -> Mapping[str, Override]:
    """Return the override of each function, by its name below ``scanpy``."""
    found: dict[str, Override] = {}
    for several in plugin_manager().hook.scanpy_oom_overrides():
        for override in several:
            found.setdefault(override.function, override)
    return found


def observe(call: DispatchedCall) -> None:
    """Tell the observers of a call that has ended. One that fails is warned of: the call itself is done."""
    try:
        plugin_manager().hook.scanpy_oom_observe(call=call)
    except Exception as error:  # noqa: BLE001
        msg = f"A scanpy-oom observer failed after {call.function}: {type(error).__name__}: {error}"
        warn_user(msg, RuntimeWarning)


find_executors_with(lambda engine: plugin_manager().hook.scanpy_oom_engine(engine=engine))
