"""The built-in plugin: formats and overrides of scanpy-oom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...engine.choice import of_dask
from ...messages import warn_user
from ...storage.hdf5.read import read_h5ad
from ..registry import BUILTIN
from .hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from anndata import AnnData

    from ...engine.abc import Executor
    from ...storage.sources.base import Source
    from ..registry import Override

__all__: list[str] = []


@hookimpl
def scanpy_oom_read(path: Path, wrap: Callable[[Source], object], format: Literal["h5ad", "zarr"]) -> AnnData:
    if format == "zarr":
        from ...storage.zarr.read import read_zarr

        return read_zarr(path, wrap)
    return read_h5ad(path, wrap, warn_user)


@hookimpl
def scanpy_oom_engine(engine: object) -> Executor | None:
    return of_dask(engine)


@hookimpl
def scanpy_oom_overrides() -> Iterable[Override]:
    return BUILTIN
