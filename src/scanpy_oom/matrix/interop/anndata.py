"""Registrations with anndata, by which an :class:`OOMMatrix` stays lazy inside an AnnData.

The only module that touches anything private of anndata. It works on anndata 0.12 and 0.13.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata import ImplicitModificationWarning
from anndata._core.file_backing import to_memory
from anndata._core.index import _subset
from anndata._core.views import as_view
from anndata._io.specs.registry import _REGISTRY, IORegistryError, IOSpec

from ...messages import warn_user
from ..kinds import KINDS
from ..oommatrix import OOMMatrix
from ..protocol import engine
from ..selection import normalize_axis_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anndata import AnnData

    from ...storage.abc import Values
    from ..methods.base import Held

__all__ = [
    "IORegistryError",
    "become",
    "change_view",
    "file_mode",
    "holds_oom",
    "positions_of_view",
    "root_of",
    "underlying",
]


def _axis_index(index: Any) -> Any:
    # anndata 0.13 wraps positions in an object of its own, which gives them up as an array
    return index if isinstance(index, slice | int | np.integer) else np.asarray(index)


@_subset.register(OOMMatrix)
def _(matrix: OOMMatrix, subset_idx: tuple[object, ...]) -> OOMMatrix:
    """Rows and columns of a view, as a grid, lazily."""
    indices = [[i] if isinstance(i, int | np.integer) else _axis_index(i) for i in subset_idx]
    axes = [normalize_axis_index(i, n) for i, n in zip(indices, matrix.shape, strict=False)]
    return matrix.select(*axes)


@as_view.register(OOMMatrix)
def _(matrix: OOMMatrix, view_args: Iterable[object]) -> OOMMatrix:
    """The matrix of a view: an assignment makes the view an AnnData of its own."""
    matrix._view = tuple(view_args)
    return matrix


def change_view(view: tuple[AnnData, str, tuple[str, ...]], index: object, value: object) -> None:
    """Have an AnnData that is a view become one of its own, and change a matrix of that, as anndata does with arrays.

    Parameters
    ----------
    view
        The AnnData, the attribute that holds the matrix, and its keys there.
    index, value
        What is to be set, and to what.
    """
    adata, name, keys = view
    warn_user(
        f"Trying to modify attribute `.{name}` of view, initializing view as actual.", ImplicitModificationWarning
    )
    own = adata.copy()
    held = getattr(own, name)
    for key in keys:
        held = held[key]
    held[index] = value
    become(adata, own)


def become(adata: AnnData, other: AnnData) -> None:
    """Have an AnnData hold what another one holds; a view becomes one of its own."""
    adata._init_as_actual(other)


@to_memory.register(OOMMatrix)
def _(matrix: OOMMatrix, *, copy: bool = False) -> Held:
    return matrix.to_memory()


def _write(
    parent: h5py.Group | zarr.Group,
    name: str,
    matrix: OOMMatrix,
    *,
    _writer: object,
    dataset_kwargs: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Stream, block by block; a matrix that is dense in memory's terms is written as an array."""
    engine().write(matrix, parent, name, dataset_kwargs)


_KINDS = (OOMMatrix, *KINDS.values())
"""The registry goes by the very class."""

for _kind in _KINDS:
    _REGISTRY.register_write(h5py.Group, _kind, IOSpec("csr_matrix", "0.1.0"))(_write)

if find_spec("zarr"):
    import zarr

    for _kind in _KINDS:
        _REGISTRY.register_write(zarr.Group, _kind, IOSpec("csr_matrix", "0.1.0"))(_write)


def root_of(adata: AnnData) -> AnnData:
    """Return the AnnData of which this is a view, or itself."""
    root = adata._adata_ref
    return adata if root is None else root


def positions_of_view(adata: AnnData) -> tuple[slice | Values, slice | Values]:
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
    """Return whether X, a layer or raw's X, of the AnnData or of that of which it is a view, is out of memory.

    Asked before each call of scanpy: it looks at attributes directly, since anndata's properties validate.
    """
    root = root_of(adata)
    layers = root._layers
    if layers and any(isinstance(layer, OOMMatrix) for layer in layers.values()):
        return True  # with anndata 0.13, X is among them
    return isinstance(getattr(root, "_X", None), OOMMatrix) or isinstance(getattr(root.raw, "_X", None), OOMMatrix)
