"""Puts wrappers in the place of scanpy's and anndata's functions, and takes them away again."""

from __future__ import annotations

import sys
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .table import BUILTIN
from .wrappers_importlib_bootstrap import around_override, around_read, around_read_h5ad, around_write_h5ad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .table import Override

__all__ = ["patch", "unpatch"]

_FILES = {
    "anndata.io.read_h5ad": around_read_h5ad,
    "anndata.io.write_h5ad": around_write_h5ad,
    "scanpy.readwrite.read": around_read,
}

_lock = RLock()
_wrappers: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Each function that was replaced, and its wrapper."""


def patch(overrides: Iterable[Override] = BUILTIN) -> None:
    """Wrap what is loaded of anndata and scanpy; what is wrapped already stays so.

    Parameters
    ----------
    overrides
        The scanpy functions to wrap, beside those that read and write files.
    """
    with _lock:
        wrapped = set(_wrappers.values())
        for path, around in _FILES.items():
            function = _loaded(path)
            if function is not None and function not in _wrappers and function not in wrapped:
                _wrappers[function] = around(function)
        for override in overrides:
            function = _loaded(f"scanpy.{override.function}")
            if function is not None and function not in _wrappers and function not in wrapped:
                _wrappers[function] = around_override(function, override.function)
        _rebind(_wrappers)


def unpatch() -> None:
    """Put back every function that :func:`patch` replaced."""
    with _lock:
        _rebind({wrapper: function for function, wrapper in _wrappers.items()})
        _wrappers.clear()


def _loaded(path: str) -> Callable[..., Any] | None:
    """Return the function, `None` where this version has none or its module is not loaded (yet)."""
    root, *names = path.split(".")
    found: Any = sys.modules.get(root)
    for name in names:
        found = getattr(found, name, None)
    return found


def _rebind(replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
    """Replace functions, known by identity, in every module of anndata and scanpy that has a name for them."""
    by_id = {id(function): replacement for function, replacement in replacements.items()}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in {"anndata", "scanpy"} or not isinstance(module, ModuleType):
            continue
        namespace = vars(module)
        for key in [key for key, value in namespace.items() if id(value) in by_id]:
            namespace[key] = by_id[id(namespace[key])]
