"""What the entry point names: the hooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from scanpy_oom import Override, UnsupportedOutOfMemory, hookimpl

from .source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from scanpy_oom.dispatch.plugins.hookspecs import DispatchedCall
    from scanpy_oom.storage.sources.base import Source

observed: list[DispatchedCall] = []


@hookimpl
def scanpy_oom_read(path: Path, wrap: Callable[[Source], Any]) -> AnnData | None:
    """Read a folder of .npy files."""
    if path.suffix != ".csr":
        return None
    adata = AnnData(wrap(FolderSource(path)))
    adata.obs_names = (path / "obs_names.txt").read_text().split()
    return adata


@hookimpl
def scanpy_oom_overrides() -> list[Override]:
    """Override the square root."""
    return [Override("pp.sqrt", sqrt)]


@hookimpl
def scanpy_oom_observe(call: DispatchedCall) -> None:
    """Keep the call."""
    observed.append(call)


def sqrt(data: AnnData, *, copy: bool = False, chunked: bool = False, chunk_size: int | None = None) -> AnnData | None:
    """Take the square root of X, lazily."""
    if chunked:
        reason = "chunks are of no use here"
        raise UnsupportedOutOfMemory(reason)
    adata = data.copy() if copy else data
    adata.X = np.sqrt(adata.X)
    return adata if copy else None
