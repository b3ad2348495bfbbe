"""Objects of the package anndataoom: as an AnnData, and as what scanpy's functions are called with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..fallback import Fallback
from ..patching.patch import patch_all
from ..plugins.manager import overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndataoom import AnnDataOOM, BackedArray, BackedLayers

    from ...matrix import OOMMatrix
    from ..arguments import Args, Kwargs

__all__ = ["from_anndataoom", "is_anndataoom", "is_overridden", "served"]

_ALIGNED = ("obsm", "varm", "obsp", "varp")


def is_anndataoom(data: object) -> bool:
    """Return whether `data` is an object of anndataoom."""
    kind = getattr(sys.modules.get("anndataoom"), "AnnDataOOM", None)
    return kind is not None and isinstance(data, kind)


def from_anndataoom(data: AnnDataOOM) -> AnnData:
    """Have scanpy work out of memory on an object of the package anndataoom.

    Matrices are read from the file that the object has open, by this package: X, layers and X of raw, with rows and
    columns that were selected and steps that were added lazily (``chunked_normalize_total``, ``chunked_log1p``,
    ``chunked_scale``). What is not found there, since the file is gone or the array is of another kind, is read through
    the object, which takes longer. Nothing is written beside the file.

    Parameters
    ----------
    data
        The object, which is left as it is, and must stay open as long as it has anything that is read through it.

    Returns
    -------
    An AnnData of its own, with an :class:`~scanpy_oom.OOMMatrix` as X, as each layer and as X of raw. All else is a
    copy of what the object holds; data frames of polars in `uns` become those of pandas.

    Raises
    ------
    TypeError
        If it is no such object, or holds something that AnnData cannot.
    ValueError
        If it was closed, is open for writing (``backed="r+"``), or its parts do not fit each other.
    """
    if not is_anndataoom(data):
        msg = f"An anndataoom.AnnDataOOM is expected, not {type(data).__name__}."
        raise TypeError(msg)
    patch_all(overrides().values())
    matrix = _matrices(data)
    x = matrix("X", data.X)
    layers = {name: matrix(f"layers[{name!r}]", layer) for name, layer in _layers(data).items()}
    aligned = {name: _carried(name, getattr(data, name)) for name in _ALIGNED}
    new = AnnData(x, obs=data.obs.copy(), var=data.var.copy(), layers=layers, raw=_raw(data, matrix), **aligned)
    new.uns = deepcopy(_in_pandas(dict(data.uns)))
    return new


def _matrices(data: AnnDataOOM) -> Callable[[str, object], OOMMatrix]:
    """Return what makes matrices of the object's arrays, and names them in errors."""
    from .anndataoom_arrays import matrix_of

    path = None if data.filename is None else Path(data.filename)

    def matrix(name: str, array: object) -> OOMMatrix:
        try:
            return matrix_of(array, path)
        except BlockingIOError as error:
            msg = (
                f"{path} is open for writing, and could change while it is read. Close the object. Then open the file "
                "with `anndataoom.read(path)`, or directly with `scanpy_oom.read_h5ad(path)`."
            )
            raise ValueError(msg) from error
        except (TypeError, ValueError) as error:
            error.add_note(f"This is about {name} of the AnnDataOOM.")
            raise

    return matrix


def _layers(data: AnnDataOOM) -> dict[str, object]:
    """Return the layers, without making the file for large ones that anndataoom makes when it is asked for them."""
    layers = data.layers
    found = dict(layers._in_memory)
    path = Path(_file_of(layers))
    if path.is_file() and path.stat().st_size:
        with h5py.File(path, "r") as h5:
            names = [name for name in h5.get("layers", ()) if name not in found]
        found |= {name: _large_layer(layers, name) for name in names}
    return found


def _file_of(layers: BackedLayers) -> str:
    return layers._path


def _large_layer(layers: BackedLayers, name: str) -> BackedArray:
    """Return an array that asks for a layer anew whenever it reads, since anndataoom closes the file at times."""
    from anndataoom import BackedArray

    shape = layers[name].shape

    class LargeLayer:
        def __getitem__(self, rows: slice) -> object:
            return layers[name][rows]

    return BackedArray(LargeLayer(), shape=shape)


def _carried(name: str, mapping: Mapping[str, object]) -> dict[str, object]:
    for key, value in mapping.items():
        if not isinstance(value, np.ndarray | pd.DataFrame) and not sparse.issparse(value):
            msg = f"{name}[{key!r}] of the AnnDataOOM is a {type(value).__name__}, which an AnnData cannot hold there."
            raise TypeError(msg)
    return dict(mapping)


def _raw(data: AnnDataOOM, matrix: Callable[[str, object], OOMMatrix]) -> dict[str, object] | None:
    raw = data.raw
    if raw is None:
        return None
    x = matrix("raw.X", raw.X)
    if x.shape[0] != data.n_obs:
        msg = (
            f"raw of the AnnDataOOM has {x.shape[0]} rows and the object {data.n_obs}. anndataoom does not change raw "
            "when it removes rows in place. Set `raw` again, or set it to None."
        )
        raise ValueError(msg)
    return {"X": x, "var": raw.var.copy(), "varm": dict(raw.varm)}


def _in_pandas(value: Any) -> Any:
    """Return what `uns` holds with data frames of polars as those of pandas."""
    if isinstance(value, Mapping):
        return {key: _in_pandas(item) for key, item in value.items()}
    return value.to_pandas() if type(value).__module__.partition(".")[0] == "polars" else value


def is_overridden(name: str) -> bool:
    """Return whether there is an override of a function: others get objects of anndataoom as they are."""
    return name in overrides()


@contextmanager
def served(args: Args, kwargs: Kwargs) -> Iterator[Fallback]:
    """Put an AnnData in the place of each object of anndataoom; at the end the objects get what the call set in it.

    If the call fails, each object is as it was. A call that returns that AnnData returns the object.
    """
    guests = {id(value): _Guest(value) for value in (*args, *kwargs.values()) if is_anndataoom(value)}

    def replaced(value: object) -> object:
        return guests[id(value)].adata if id(value) in guests else value

    fallback = Fallback(tuple(map(replaced, args)), {key: replaced(value) for key, value in kwargs.items()})
    yield fallback
    for guest in guests.values():
        guest.settle()
        if fallback.result is guest.adata:
            fallback.result = guest.data


class _Guest:
    """An object of anndataoom, and the AnnData that stands in for it."""

    def __init__(self, data: AnnDataOOM) -> None:
        self.data = data
        self.adata = from_anndataoom(data)
        self._before = self._held()

    def _held(self) -> tuple[object, dict[str, object], object]:
        layers = {name: layer for name, layer in self.adata.layers.items() if name is not None}
        return self.adata.X, layers, None if self.adata.raw is None else self.adata.raw.X

    def settle(self) -> None:
        """Give the object what has changed; its arrays, where they have not, stay what they are."""
        from anndataoom import BackedArray, BackedLayers, _FrozenRaw

        data, adata = self.data, self.adata
        x, layers, raw = self._held()
        x_before, layers_before, raw_before = self._before
        data.obs, data.var, data.uns = adata.obs, adata.var, dict(adata.uns)
        for name in _ALIGNED:
            setattr(data, name, dict(getattr(adata, name)))
        if x is not x_before:
            data.X = x
            data.clear_cache()
        if layers.keys() != layers_before.keys() or any(layers[name] is not layers_before[name] for name in layers):
            data.layers = BackedLayers(_file_of(data.layers).removesuffix(".layers.h5"))
            data.layers = {name: BackedArray(layer) for name, layer in layers.items()}
            for name in layers:
                data.clear_cache(name)
        if raw is not raw_before:
            # its own setter would keep a matrix as it is, and bring rows of it into memory at the next subset
            data.raw = None if raw is None else _FrozenRaw(BackedArray(raw), adata.raw.var, dict(adata.raw.varm))
