"""What anndata must be told so that an :class:`OOMMatrix` stays lazy inside an AnnData.

The only module that touches anything private of anndata. It works on anndata 0.12 and 0.13.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata._core.file_backing import to_memory
from anndata._core.index import _subset
from anndata._core.views import as_view
from anndata._io.specs.registry import _REGISTRY, IOSpec

from .engine import engine
from .oommatrix import OOMMatrix
from .selection import normalize_axis_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anndata import AnnData

__all__ = ["file_mode", "holds_oom", "positions_of_view", "root_of", "underlying"]


def _axis_index(index: Any) -> Any:
    # anndata 0.13 wraps positions in an object of its own, which gives them up as an array
    return index if isinstance(index, slice | int | np.integer) else np.asarray(index)


@_subset.register(OOMMatrix)
def _(matrix: OOMMatrix, subset_idx: tuple[Any, ...]) -> OOMMatrix:
    """Rows and columns of a view, as a grid, lazily."""
    indices = [[i] if isinstance(i, int | np.integer) else _axis_index(i) for i in subset_idx]
    axes = [normalize_axis_index(i, n) for i, n in zip(indices, matrix.shape, strict=False)]
    return matrix.select(*axes)


@as_view.register(OOMMatrix)
def _(matrix: OOMMatrix, view_args: Any) -> OOMMatrix:
    """Immutable, hence its own view."""
    return matrix


@to_memory.register(OOMMatrix)
def _(matrix: OOMMatrix, *, copy: bool = False) -> Any:
    return matrix.to_memory()


@_REGISTRY.register_write(h5py.Group, OOMMatrix, IOSpec("csr_matrix", "0.1.0"))
def _write(
    parent: h5py.Group | zarr.Group,
    name: str,
    matrix: OOMMatrix,
    *,
    _writer: Any,
    dataset_kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Stream, block by block; a matrix that is dense in memory's terms is written as an array."""
    engine().write(matrix, parent, name, dataset_kwargs)


if find_spec("zarr"):
    import zarr

    _REGISTRY.register_write(zarr.Group, OOMMatrix, IOSpec("csr_matrix", "0.1.0"))(_write)


def root_of(adata: AnnData) -> AnnData:
    """Return the AnnData of which this is a view, or itself."""
    return adata._adata_ref if adata.is_view else adata


def positions_of_view(adata: AnnData) -> tuple[Any, Any]:
    """Return which rows and columns of its root a view shows."""
    return _axis_index(adata._oidx), _axis_index(adata._vidx)


def file_mode(adata: AnnData) -> str:
    """Return in which mode an AnnData that is backed by a file has opened it, as ``"r"`` or ``"r+"``."""
    mode: str = adata.file._filemode
    return mode


def underlying(adata: AnnData) -> Iterator[tuple[str, Any]]:
    """Yield `(slot, matrix)` for X, each layer and raw's X, of the AnnData itself or of that of which it is a view.

    Nothing is subset, read or copied. Slots are named ``"X"``, ``"layers/NAME"`` and ``"raw/X"``.
    """
    root = root_of(adata)
    if root.isbacked:
        return
    yield "X", root.X
    for name, layer in root.layers.items():
        if name is not None:  # anndata 0.13 lists X there too
            yield f"layers/{name}", layer
    if root.raw is not None:
        yield "raw/X", root.raw.X


def holds_oom(adata: AnnData) -> bool:
    """Tell whether X, a layer or raw's X, of the AnnData or of that of which it is a view, is out of memory.

    Asked before each call of scanpy: it looks at attributes directly, since anndata's properties validate.
    """
    root = adata if adata._adata_ref is None else adata._adata_ref
    layers = root._layers
    if layers and any(isinstance(layer, OOMMatrix) for layer in layers.values()):
        return True  # with anndata 0.13, X is among them
    raw = root._raw
    return isinstance(getattr(root, "_X", None), OOMMatrix) or isinstance(getattr(raw, "_X", None), OOMMatrix)
