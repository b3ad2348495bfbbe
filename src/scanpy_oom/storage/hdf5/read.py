"""Reading an h5ad file: its matrices as sources, all the rest as anndata reads it."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

from anndata import AnnData
from anndata.experimental import read_dispatched

from ...errors import NotAnH5adError
from ..sources.open import is_streamable, make_source
from ..sources.shapes import check_shapes
from .file import SourceFile
from .legacy import is_legacy, read_legacy
from .links import check_links

if TYPE_CHECKING:
    from collections.abc import Callable

    import h5py
    from anndata.experimental import IOSpec

    from ..sources.base import Source

    Element: TypeAlias = h5py.Group | h5py.Dataset

__all__ = ["read_h5ad"]


def read_h5ad(
    path: str | os.PathLike[str], wrap: Callable[[Source], object], warn: Callable[[str], None] = warnings.warn
) -> AnnData:
    """Read an h5ad file without its matrices.

    Parameters
    ----------
    path
        The file.
    wrap
        Makes what stands for a matrix in the result from its source: for X, each layer and X of raw. What cannot be
        streamed (a data frame, a matrix of strings) is read as anndata reads it.
    warn
        Is told what is to be warned of.

    Returns
    -------
    obs, var, uns, obsm, varm, obsp and varp as `anndata.read_h5ad(path)` gives them.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If `path` is no file.
    NotAnH5adError
        If it is no HDF5 file, or an HDF5 file of another kind.
    CorruptFileError
        If it is damaged.
    OOMError
        If it says that some of it is in other files, and ``settings.follow_links`` is off.
    """
    file = SourceFile(path)
    try:
        with file.library() as h5:
            if elsewhere := check_links(file.path, h5):
                warn(elsewhere)
            _check_is_h5ad(file, h5)
            if is_legacy(h5):
                return read_legacy(h5, _Loader(file, wrap), _Loader(file, wrap))
            return _read(file, h5, _Loader(file, wrap), _Loader(file, wrap))
    finally:
        file.close()


class _Loader:
    """Wraps the sources of matrices, and remembers their shapes until obs and var are known."""

    def __init__(self, file: SourceFile, wrap: Callable[[Source], object]) -> None:
        self._file = file
        self._wrap = wrap
        self._shapes: dict[str, tuple[int, int]] = {}

    def __call__(self, element: Element) -> object:
        """Give what stands for the matrix in `element`, or `None` if it cannot be streamed."""
        with self._file.damage_is_named(element.name):
            if not is_streamable(element):
                return None
            source = make_source(self._file.again(element), element)
        self._shapes[element.name] = source.shape
        return self._wrap(source)

    def read(self, element: Element) -> object:
        """Give what stands for a matrix, or for each in a group of them; all else as anndata reads it."""

        def callback(read_func: Callable[[Element], object], name: str, element: Element, iospec: IOSpec) -> object:
            matrix = self(element)
            if matrix is not None:
                return matrix
            with self._file.damage_is_named(name, by_anndata=True):
                return read_func(element)

        return read_dispatched(element, callback)

    def check_shapes(self, n_obs: int, n_vars: int) -> None:
        """Hold the shapes against the annotations."""
        check_shapes(self._file.path, self._shapes, n_obs, n_vars)


def _read(file: SourceFile, h5: h5py.File, matrices: _Loader, raw_matrix: _Loader) -> AnnData:
    """Do as `anndata.read_h5ad` does, with another way to read matrices."""

    def callback(read_func: Callable[[Element], object], name: str, element: Element, iospec: IOSpec) -> object:
        if name == "/":
            parts = {key: read(key) for key in element}
            matrices.check_shapes(len(parts["obs"]), len(parts["var"]))
            if "var" in parts.get("raw", {}):
                raw_matrix.check_shapes(len(parts["obs"]), len(parts["raw"]["var"]))
            return AnnData(**parts)
        if iospec.encoding_type == "anndata":
            return AnnData(**{key: read_dispatched(element[key], callback) for key in element})
        with file.damage_is_named(name, by_anndata=True):
            return read_func(element)

    def read(key: str) -> Any:
        with file.damage_is_named(f"/{key}"):
            return read_known(key)

    def read_known(key: str) -> Any:
        if key in {"X", "layers"}:
            return matrices.read(h5[key])
        if key == "raw":
            return read_raw(h5[key])
        return read_dispatched(h5[key], callback)

    def read_raw(group: h5py.Group) -> dict[str, Any]:
        raw = {key: read_dispatched(group[key], callback) for key in ("var", "varm") if key in group}
        return raw | ({"X": raw_matrix.read(group["X"])} if "X" in group else {})

    return read_dispatched(h5, callback)


def _check_is_h5ad(file: SourceFile, h5: h5py.File) -> None:
    missing = [key for key in ("obs", "var") if key not in h5]
    if missing:
        msg = (
            f"{file.path} is an HDF5 file but no h5ad file: it has no {' and no '.join(missing)} "
            f"(it holds {', '.join(map(os.fsdecode, h5)) or 'nothing'}). "
            "Read files of other kinds with their own functions, such as scanpy.read_10x_h5 or anndata.io.read_loom."
        )
        raise NotAnH5adError(msg)
