"""Zarr stores that are being read: folders and zip files, format 2 and 3."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ...errors import CorruptFileError
from ...memory.fork_lock import fork_safe_lock
from ..abc import Container
from ..byte_counter import ByteCounter
from ..damage import damage_is_named
from .chunks import ZarrArray

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator

    import zarr
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype
    from zarr.types import AnyArray

    from ..nodes import ArrayNode

__all__ = ["ZarrStore"]


class Stamp(NamedTuple):
    """The identity of a store: size and time of a zip file, or of the files that describe a folder's root.

    A store that is written anew says it anew, be it in another folder of the same name or in the same.
    """

    size: int
    mtime: int
    number: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Look at a file; None if there is none."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class _Seen:
    """Sizes and times of a folder's files at their first read: a chunk may be replaced without its root.

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
        look = hash(Stamp.of(self._folder / key))
        if self._looks.setdefault(key, look) != look:
            msg = f"{self._folder}: its file {key} has changed since it was first read. Read it again with read_zarr."
            raise CorruptFileError(msg)


_ROOTS = ("zarr.json", ".zgroup")

_NO_GROUP = {"ContainsArrayError", "NodeTypeValidationError"}
"""Errors of zarr about what is no group: another store than one of an AnnData."""


class ZarrStore(Container):
    """A store that is open for reading.

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

    backend = "zarr"

    def __init__(self, path: str | os.PathLike[str], stamp: Stamp | None = None) -> None:
        self.path = Path(path).absolute()
        if not self.path.exists():
            msg = "There is no such Zarr store"
            raise FileNotFoundError(2, msg, str(self.path))
        self.counter = ByteCounter()
        self.stamp = self._look()
        if stamp is not None and stamp != self.stamp:
            raise self.changed()
        self._lock = fork_safe_lock()
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

    def node(self, name: str) -> Any:
        """Return an array or a group, open with zarr."""
        return self.root()[name.strip("/")]

    @contextmanager
    def element(self, name: str) -> Iterator[zarr.Group | AnyArray]:
        """Look up an array or a group, for the time of the context.

        Raises
        ------
        KeyError
            If there is none of this name.
        """
        root = self.root()
        with self.damage_is_named(name):
            if name.strip("/") not in root:
                msg = f"{self.path} holds no {name}."
                raise KeyError(msg)
            yield self.node(name)

    def open_array(self, array: str | ArrayNode) -> ZarrArray:
        """Open an array, by its name or as it is found in a group; only its description is kept."""
        return ZarrArray(self, self.node(array) if isinstance(array, str) else cast("AnyArray", array))

    def holds(self, key: str) -> bool:
        """Return whether the store has a file of this name."""
        if self.path.is_dir():
            return (self.path / key).exists()
        with zipfile.ZipFile(self.path) as archive:
            return key in archive.NameToInfo

    @property
    def is_closed(self) -> bool:
        """True if the store was closed."""
        return self._closed

    def check_open(self) -> None:
        """Raise ValueError if the store is closed."""
        self.root()

    def is_unchanged(self) -> bool:
        """Return whether the store still has its stamp."""
        return self._look() == self.stamp

    def _look(self) -> Stamp | None:
        look = self.path
        if look.is_dir():
            look = next((look / name for name in _ROOTS if (look / name).exists()), look)
        return Stamp.of(look)  # None, if the store is gone, or about to be replaced

    def changed(self) -> CorruptFileError:
        """Make the error that says that the store has not."""
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

    def counted(found: Buffer | None) -> Buffer | None:
        counter.add(0 if found is None else len(found))
        return found

    class WatchedStore(WrapperStore[Any]):
        """Counts the bytes that are read, and holds files to be what they were."""

        async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Any:
            with watched(key):
                return counted(await self._store.get(key, prototype, byte_range))

        # later versions of zarr call these, from threads of their own and for parts of shards
        def get_sync(self, key: str, **how: object) -> Buffer | None:
            with watched(key):
                return counted(self._store.get_sync(key, **how))

        async def get_ranges(self, key: str, byte_ranges: object, **how: object) -> AsyncIterator[object]:
            with watched(key):
                async for group in self._store.get_ranges(key, byte_ranges, **how):
                    for _, found in group:
                        counted(found)
                    yield group

    store = ZipStore(path, mode="r") if seen is None else LocalStore(path, read_only=True)
    try:
        return zarr.open_group(WatchedStore(store), mode="r")
    except zipfile.BadZipFile as error:  # of its list of files
        raise _damaged_zip(path, error) from error
    except Exception as error:
        if isinstance(error, FileNotFoundError) or type(error).__name__ in _NO_GROUP:
            msg = f"{path} is no Zarr store of an AnnData: {error}"
            raise FileNotFoundError(2, msg, str(path)) from error
        with damage_is_named(path):
            raise


def _damaged_zip(path: Path, error: Exception, key: str = "") -> CorruptFileError:
    what = f"its file {key}" if key else "it"
    msg = f"{path}: {what} is damaged: {error}. Fetch or write it again."
    return CorruptFileError(msg)
