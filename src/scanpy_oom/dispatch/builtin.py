"""What comes with scanpy-oom, registered as a plugin's would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..io.read import read_h5ad
from .hookspecs import hookimpl
from .table import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from anndata import AnnData

    from ..io.source import Source
    from ..matrix.engine import Engine
    from .table import Override

__all__: list[str] = []


@hookimpl
def scanpy_oom_read(path: Path, wrap: Callable[[Source], Any]) -> AnnData:
    return read_h5ad(path, wrap)


@hookimpl
def scanpy_oom_overrides() -> Iterable[Override]:
    return BUILTIN


@hookimpl
def scanpy_oom_kernels(device: str) -> Mapping[str, Callable[..., Any]] | None:
    if device != "cpu":
        return None
    from .. import kernels

    return {name: getattr(kernels, name) for name in kernels.__all__}


@hookimpl
def scanpy_oom_engine(name: str) -> Engine | None:
    if name != "threads":
        return None
    from ..passes import ENGINE

    return ENGINE
