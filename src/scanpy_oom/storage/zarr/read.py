"""Reading a Zarr store: its matrices as sources, all the rest as anndata reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from anndata.experimental import read_dispatched

from ..sources.open import is_streamable, make_source
from ..sources.shapes import check_shapes
from .store import ZarrStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import zarr
    from anndata.experimental import IOSpec

    from ..sources.base import Source

__all__ = ["read_zarr"]


def read_zarr(path: str | os.PathLike[str], wrap: Callable[[Source], object]) -> AnnData:
    """Read a store without its matrices.

    Parameters
    ----------
    path
        A folder, or a zip file.
    wrap
        Makes what stands for a matrix in the result from its source: for X, each layer and X of raw.

    Returns
    -------
    obs, var, uns, obsm, varm, obsp and varp as `anndata.read_zarr(path)` gives them.
    """
    store = ZarrStore(path)
    root = store.root()
    shapes: dict[str, tuple[int, int]] = {}

    def callback(read_func: Callable[[object], object], name: str, element: Any, iospec: IOSpec) -> object:
        name = name.strip("/")
        if not name:
            parts = {key: read(root, key) for key in root}
            _check(Path(path), shapes, parts)
            return AnnData(**parts)
        is_matrix = name in {"X", "raw/X"} or (name.startswith("layers/") and name.count("/") == 1)
        if is_matrix and "encoding-type" in element.attrs and is_streamable(element):
            source = make_source(ZarrStore(path), element)
            shapes[name] = source.shape
            return wrap(source)
        if name in {"layers", "raw"}:
            return {key: read(element, key) for key in element}
        with store.damage_is_named(f"/{name}", by_anndata=True):
            return read_func(element)

    def read(group: zarr.Group, key: str) -> Any:
        with store.damage_is_named(f"{group.name.rstrip('/')}/{key}"):
            return read_dispatched(group[key], callback)

    with store.damage_is_named():
        return read_dispatched(root, callback)


def _check(path: Path, shapes: dict[str, tuple[int, int]], parts: dict[str, Any]) -> None:
    """Hold the shapes of matrices against the annotations, where there are any."""
    if not {"obs", "var"} <= parts.keys():
        return
    n_obs, n_vars = len(parts["obs"]), len(parts["var"])
    of_raw = {name: shape for name, shape in shapes.items() if name.startswith("raw/")}
    check_shapes(path, {name: shape for name, shape in shapes.items() if name not in of_raw}, n_obs, n_vars)
    if "var" in parts.get("raw", {}):
        check_shapes(path, of_raw, n_obs, len(parts["raw"]["var"]))
