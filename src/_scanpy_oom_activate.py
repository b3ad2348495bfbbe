"""Has anndata and scanpy patched when they are imported. Standard library only.

``scanpy_oom.pth``, which every interpreter reads when it starts, puts a finder on :data:`sys.meta_path` that imports
this module once anndata or scanpy is looked for.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["find_spec", "install", "uninstall", "watch"]

_HOOK = "ScanpyOOMHook"
"""Name of the finder, here and in ``scanpy_oom.pth``."""

_watched = {"anndata", "scanpy", "scanpy.external"}
"""Modules after whose execution what is loaded is patched; scanpy 1.13 imports the last one when it is asked for it."""


def find_spec(fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
    """Return what the finders behind the hook find, set up so that executing a module that is watched patches it."""
    if fullname not in _watched:
        return None
    # Those in front of the hook were asked already, or are asking it. In a virtual environment there may be two hooks,
    # since Python reads its .pth files twice.
    hooks = [position for position, finder in enumerate(sys.meta_path) if _is_hook(finder)]
    for finder in sys.meta_path[max(hooks, default=-1) + 1 :]:
        spec = finder.find_spec(fullname, path, target)
        if spec is not None:
            _patch_when_executed(spec.loader)
            return spec
    return None


def _is_hook(finder: object) -> bool:
    return getattr(finder, "__name__", None) == _HOOK


def _patch_when_executed(loader: Any) -> None:
    # The loader keeps its type and all that importlib, pkgutil or inspect may ask of it; it gets one attribute, until
    # it is used. A spec that somebody only looked at leaves nothing behind.
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
        from scanpy_oom.dispatch.patching.patch import patch

        patch()
    except Exception as error:  # noqa: BLE001
        msg = (
            f"scanpy-oom could not be activated, so `backed='oom'` is not known: {type(error).__name__}: {error}. "
            "Reinstall or uninstall it, or set SCANPY_OOM_DISABLE=1."
        )
        warnings.warn(msg, RuntimeWarning, stacklevel=3)  # at the import: its own frames are not counted


def install() -> None:
    """Have anndata and scanpy patched when they are imported from now on."""
    if not any(_is_hook(finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _hook())


def watch(names: Collection[str]) -> None:
    """Have more modules patched when they are imported from now on, anndata and scanpy among them.

    The finder of ``scanpy_oom.pth`` asks here for anndata and scanpy alone: so there is one in front of it for these.
    """
    install()  # where no line of a .pth file has done so, as in a folder on PYTHONPATH
    hooks = [position for position, finder in enumerate(sys.meta_path) if _is_hook(finder)]
    if not _watched.issuperset(names):
        _watched.update(names)
        sys.meta_path.insert(hooks[0], _hook())


def _hook() -> Any:
    return type(_HOOK, (), {"find_spec": staticmethod(find_spec)})


def uninstall() -> None:
    """Undo :func:`install`, or what ``scanpy_oom.pth`` has done."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_hook(finder)]
