"""Scanpy out of memory: ``sc.read_h5ad(path, backed="oom")`` leaves the matrices on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# At once, since they have the names of their modules: imported later, these would take their places.
from .report import report
from .settings import settings

if TYPE_CHECKING:
    from . import tl
    from .dispatch.interop.anndataoom import from_anndataoom
    from .dispatch.patching.activation import disable, enable
    from .dispatch.plugins.hookspecs import hookimpl
    from .dispatch.readwrite.convert import to_oom
    from .dispatch.readwrite.read import read_h5ad
    from .dispatch.registry import Override
    from .engine.choice import engine
    from .errors import (
        CorruptFileError,
        DeviceError,
        MemoryBudgetExceeded,
        NotAnH5adError,
        OOMError,
        UnsupportedOutOfMemory,
    )
    from .matrix import OOMMatrix

__version__ = "0.1.0"

__all__ = [
    "CorruptFileError",
    "DeviceError",
    "MemoryBudgetExceeded",
    "NotAnH5adError",
    "OOMError",
    "OOMMatrix",
    "Override",
    "UnsupportedOutOfMemory",
    "disable",
    "enable",
    "engine",
    "from_anndataoom",
    "hookimpl",
    "load_ipython_extension",
    "read_h5ad",
    "report",
    "settings",
    "tl",
    "to_oom",
    "unload_ipython_extension",
]

# Importing this package is part of importing scanpy; what it offers is imported when it is asked for.
_HOMES = {
    "CorruptFileError": ".errors",
    "DeviceError": ".errors",
    "MemoryBudgetExceeded": ".errors",
    "NotAnH5adError": ".errors",
    "OOMError": ".errors",
    "OOMMatrix": ".matrix",
    "Override": ".dispatch.registry",
    "UnsupportedOutOfMemory": ".errors",
    "disable": ".dispatch.patching.activation",
    "enable": ".dispatch.patching.activation",
    "from_anndataoom": ".dispatch.interop.anndataoom",
    "hookimpl": ".dispatch.plugins.hookspecs",
    "load_ipython_extension": ".notebook",
    "read_h5ad": ".dispatch.readwrite.read",
    "to_oom": ".dispatch.readwrite.convert",
    "unload_ipython_extension": ".notebook",
}

_MODULES = {"engine", "tl"}
"""Of which the first can be called."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
