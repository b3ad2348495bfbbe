"""Matrices in Zarr stores: folders and zip files, format 2 and 3."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from anndata import AnnData
from anndata.experimental import read_dispatched

from ..errors import CorruptFileError
from .chunked import ChunkReader
from .csc import CSCSource
from .dense import DenseSource
from .hdf5 import CSRSource
from .locks import ForkSafeLock
from .shapes import check_shapes, stored_shape
from .source import ByteCounter, is_supported_dtype

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import zarr
    from numpy.typing import NDArray

    from .source import Source

__all__ = ["ZarrStore", "open_zarr", "read_zarr"]


class _Stamp(NamedTuple):
    """What tells whether a store is still the same: how a zip file looks, or what a folder says of its root.

    A store that is written anew says it anew, be it in another folder of the same name or in the same.
    """

    size: int
    mtime: int
    number: int

    @classmethod
    def of(cls, path: Path) -> _Stamp | None:
        """Look at a file; None if there is none."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class _Seen:
    """How the files of a folder looked when they were first read: a chunk may be replaced without its root.

    Parameters
    ----------
    folder
        The store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looks: dict[str, int] = {}  # a number each, since there may be many

    def check(self, key: str) -> None:
        """Raise CorruptFileError if a file has changed since this was first asked."""
        look = hash(_Stamp.of(self._folder / key))
        if self._looks.setdefault(key, look) != look:
            msg = f"{self._folder}: its file {key} has changed since it was first read. Read it again with read_zarr."
            raise CorruptFileError(msg)


_ROOTS = ("zarr.json", ".zgroup")


class _Pipeline(NamedTuple):
    compression: str


class ZarrStore:
    """A store that is open for reading. It stands where a file stands for matrices in HDF5.

    Parameters
    ----------
    path
        A folder, or a zip file.
    stamp
        What the zip file must look like, when it was opened before.

    Raises
    ------
    ImportError
        If zarr is not installed.
    FileNotFoundError
        If there is no such store.
    CorruptFileError
        If it does not have the stamp.
    """

    def __init__(self, path: str | os.PathLike[str], stamp: _Stamp | None = None) -> None:
        self.path = Path(path)
        if not self.path.exists():
            msg = "There is no such Zarr store"
            raise FileNotFoundError(2, msg, str(self.path))
        self.counter = ByteCounter()
        self.stamp = self._look()
        if stamp is not None and stamp != self.stamp:
            raise self._changed()
        self._lock = ForkSafeLock()
        self._root: zarr.Group | None = None
        self._closed = False

    def root(self) -> zarr.Group:
        """Open the store, once."""
        with self._lock:
            if self._closed:
                msg = f"{self.path} has been closed; read it again with read_zarr."
                raise ValueError(msg)
            if self._root is None:
                self._root = _open(self.path, self.counter)
            return self._root

    def chunks(self, array: zarr.Array) -> ChunkReader:
        """Return what reads the chunks of an array."""
        return _ZarrReader(self, array)

    def check_holds(self, group: Any, key: str) -> None:
        """Do nothing: what a store shows, it holds."""

    def reopener(self) -> Callable[..., Source]:
        """Return what opens a matrix again, from path, name and stamp."""
        return open_zarr

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise, once the block is done or has failed, if the store is not what it was."""
        self.root()
        try:
            yield
        except (CorruptFileError, OSError) as error:
            if self._look() != self.stamp:
                raise self._changed() from error
            raise
        if self._look() != self.stamp:
            raise self._changed()

    def _look(self) -> _Stamp | None:
        look = self.path
        if look.is_dir():
            look = next((look / name for name in _ROOTS if (look / name).exists()), look)
        return _Stamp.of(look)  # None, if the store is gone, or about to be replaced

    def _changed(self) -> CorruptFileError:
        msg = f"{self.path} has changed since it was opened. Read it again with read_zarr."
        return CorruptFileError(msg)

    def close(self) -> None:
        """Release the store. Reading from it raises ValueError from now on."""
        with self._lock:
            if self._root is not None:
                self._root.store.close()
            self._root, self._closed = None, True


def _open(path: Path, counter: ByteCounter) -> zarr.Group:
    """Open the group at the root of a store whose reads are counted."""
    try:
        import zarr
        from zarr.storage import LocalStore, WrapperStore, ZipStore
    except ImportError as error:
        msg = "Reading Zarr stores takes zarr: `pip install 'scanpy-oom[zarr]'`."
        raise ImportError(msg) from error

    seen = _Seen(path) if path.is_dir() else None  # a zip file is one file

    @contextmanager
    def watched(key: str) -> Iterator[None]:
        if seen is not None:
            seen.check(key)
        try:
            yield
        except (zipfile.BadZipFile, zlib.error) as error:
            raise _damaged_zip(path, error, key) from error
        if seen is not None:
            seen.check(key)  # nor while it was read

    def counted(found: Any) -> Any:
        counter.add(0 if found is None else len(found))
        return found

    class WatchedStore(WrapperStore[Any]):
        """Counts the bytes that are read, and holds files to be what they were."""

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            with watched(key):
                return counted(await self._store.get(key, prototype, byte_range))

        def get_sync(self, key: str, **how: Any) -> Any:  # which later versions of zarr call from threads of their own
            with watched(key):
                return counted(self._store.get_sync(key, **how))

        async def get_ranges(self, key: str, byte_ranges: Any, **how: Any) -> Any:  # and this for parts of shards
            with watched(key):
                async for group in self._store.get_ranges(key, byte_ranges, **how):
                    for _, found in group:
                        counted(found)
                    yield group

    store: Any = ZipStore(path, mode="r") if seen is None else LocalStore(path, read_only=True)
    try:
        return zarr.open_group(WatchedStore(store), mode="r")
    except zipfile.BadZipFile as error:  # of its list of files
        raise _damaged_zip(path, error) from error
    except CorruptFileError:  # of one of its files
        raise
    except (FileNotFoundError, KeyError, ValueError) as error:
        msg = f"{path} is no Zarr store of an AnnData: {error}"
        raise FileNotFoundError(2, msg, str(path)) from error


def _damaged_zip(path: Path, error: Exception, key: str = "") -> CorruptFileError:
    what = f"its file {key}" if key else "it"
    msg = f"{path}: {what} is damaged: {error}. Fetch or write it again."
    return CorruptFileError(msg)


class _ZarrReader(ChunkReader):
    """An array of a store, whose codecs are zarr's."""

    file: Any

    def __init__(self, store: ZarrStore, array: zarr.Array) -> None:
        self.file = store
        self.name = f"/{array.path}"
        self.location = f"{store.path.name}:{self.name}"
        self.shape = array.shape
        self.stored_dtype = np.dtype(array.dtype)
        self.dtype = self.stored_dtype.newbyteorder("=")
        names = [type(codec).__name__.removesuffix("Codec").lower() for codec in array.compressors]
        self.pipeline: Any = _Pipeline("+".join(names) or "none")
        self.chunk_shape = tuple(max(1, n) for n in array.chunks)
        self._nbytes: int | None = None

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Bytes that are stored; looked up when they are asked for."""
        if self._nbytes is None:
            self._nbytes = int(self._array().nbytes_stored())
        return self._nbytes

    def _array(self) -> zarr.Array:
        found: Any = self.file.root()[self.name.strip("/")]
        return found

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> NDArray[Any]:
        window = tuple(slice(at, at + n) for at, n in zip(origin, extent, strict=True))
        try:
            return np.asarray(self._array()[window])
        except CorruptFileError:  # of the file, which it names
            raise
        except (OSError, RuntimeError, ValueError, zlib.error) as error:
            if self.file._closed:
                raise
            raise self._damaged(origin, error) from error


def open_zarr(path: str | os.PathLike[str], name: str = "/X", stamp: _Stamp | None = None) -> Source:
    """Open one matrix of a store.

    Raises
    ------
    KeyError
        If it holds no such matrix.
    TypeError
        If what it holds by that name cannot be streamed.
    """
    store = ZarrStore(path, stamp)
    root = store.root()
    if name.strip("/") not in root:
        msg = f"{path} holds no {name}."
        raise KeyError(msg)
    source = _source(store, root[name.strip("/")])
    if source is None:
        msg = f"{path}: {name} is no matrix of numbers, compressed by rows or columns or dense."
        raise TypeError(msg)
    return source


def _source(store: ZarrStore, element: Any) -> Source | None:
    """Make the source for an element, None if it is no matrix of numbers."""
    encoding = element.attrs.get("encoding-type")
    if encoding in {"csr_matrix", "csc_matrix"}:
        data = element.get("data")
        if hasattr(data, "ndim") and not is_supported_dtype(data.dtype):
            return None
        kind: Any = CSRSource if encoding == "csr_matrix" else CSCSource
        source: Source = kind(store, element, stored_shape(store.path, element))
        return source
    if encoding == "array" and element.ndim == 2 and is_supported_dtype(element.dtype):
        dense: Any = DenseSource
        return dense(store, element)
    return None


def read_zarr(path: str | os.PathLike[str], wrap: Callable[[Source], Any]) -> AnnData:
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
    root = ZarrStore(path).root()
    shapes: dict[str, tuple[int, int]] = {}

    def callback(read_func: Callable[[Any], Any], name: str, element: Any, iospec: Any) -> Any:
        name = name.strip("/")
        if not name:
            parts = {key: read_dispatched(root[key], callback) for key in root}
            _check(Path(path), shapes, parts)
            return AnnData(**parts)
        if name in {"X", "raw/X"} or (name.startswith("layers/") and name.count("/") == 1):
            source = _source(ZarrStore(path), element)
            if source is None:
                return read_func(element)
            shapes[name] = source.shape
            return wrap(source)
        if name in {"layers", "raw"}:
            return {key: read_dispatched(element[key], callback) for key in element}
        return read_func(element)

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
