"""An HDF5 file that is being read: a descriptor for direct reads, and the certainty that it has not changed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary, finalize

import h5py
import numpy as np

from ...errors import CorruptFileError, NotAnH5adError
from ...memory.buffer_pool import BUFFERS
from ...memory.fork_lock import fork_safe_lock
from ..damage import is_of_the_system, say_many_files
from .container import HDF5Container

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

__all__ = ["HAS_PREAD", "SourceFile", "Stamp", "is_read_from"]

HAS_PREAD = hasattr(os, "preadv")
"""True if the system reads from a place in a file whatever thread asks; where it does not (Windows), h5py reads all."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)


class Stamp(NamedTuple):
    """The identity of a file: size in bytes, time of modification in nanoseconds."""

    size: int
    mtime: int


class _Descriptor:
    """A file descriptor, which is closed once nothing refers to it.

    Parameters
    ----------
    fd
        Its number.
    """

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        finalize(self, os.close, fd)


_lock = fork_safe_lock(reentrant=True)  # what is collected while it is held may let go of a descriptor
_opened: WeakValueDictionary[tuple[int, int], _Descriptor] = WeakValueDictionary()
"""Descriptors by what the system knows files by, which no other file has as long as they are open."""


def _shared(fd: int) -> _Descriptor:
    """Return the one descriptor of the file that has just been opened as `fd`: many matrices may lie in one file."""
    status = os.fstat(fd)
    with _lock:
        known = _opened.get((status.st_dev, status.st_ino)) if status.st_ino else None
        if known is None:
            known = _Descriptor(fd)
            _opened[status.st_dev, status.st_ino] = known
        else:
            os.close(fd)
        return known


def is_read_from(path: str | os.PathLike[str]) -> bool:
    """Return whether a matrix of this process lies in the file of this name."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in _opened


class SourceFile(HDF5Container):
    """An HDF5 file that is open for direct reads.

    Those of one file share one descriptor.

    Parameters
    ----------
    path
        The file.
    stamp
        The stamp that the file must have, when it was opened before.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, NotAnH5adError
        If `path` is no HDF5 file.
    CorruptFileError
        If the file does not have the stamp.
    """

    stamp: Stamp

    def __init__(self, path: str | os.PathLike[str], stamp: Stamp | None = None) -> None:
        self.path = Path(path).absolute()
        self._descriptor: _Descriptor | None = _shared(_open(self.path))
        super().__init__()
        self.stamp = self._current_stamp()
        if stamp is not None and stamp != self.stamp:
            raise self.changed(stamp)
        self.stamp = Stamp(*stamp) if stamp is not None else self.stamp
        _check_signature(self.path, self.fd)

    @property
    def fd(self) -> int:
        """The file descriptor."""
        descriptor = self._descriptor
        if descriptor is None:
            msg = f"{self.path} has been closed; read it again with read_h5ad."
            raise ValueError(msg)
        return descriptor.fd

    def pread(self, n: int, offset: int) -> NDArray[np.uint8]:
        """Read `n` bytes at `offset`."""
        data, done = BUFFERS.empty(n, np.uint8), 0
        while done < n and (more := os.preadv(self.fd, [data[done:].data], offset + done)):
            done += more
        if done < n:
            msg = (
                f"{self.path} is truncated: {n} bytes were expected at byte {offset}, "
                f"and the file ends at byte {os.fstat(self.fd).st_size}. Fetch or write it again."
            )
            raise CorruptFileError(msg)
        self.counter.add(n)
        return data

    def open_library(self) -> h5py.File:
        """Open the file with h5py, for what is not read directly; the caller closes it."""
        fd = self.fd  # a file that was closed is no damaged one
        try:
            if _is_open_as(fd, self.path):
                return h5py.File(self.path, "r")
            # Another file has taken the name since; ours lives on as long as its descriptor.
            return h5py.File(_Stream(fd), "r")
        except BlockingIOError as error:
            msg = (
                "Another process has this file open for writing. Wait until it is closed there; "
                "if nothing is written any more, set the environment variable HDF5_USE_FILE_LOCKING to FALSE"
            )
            raise BlockingIOError(error.errno, msg, str(self.path)) from error
        except Exception as error:
            if is_of_the_system(error):
                say_many_files(error, self.path)
                raise
            msg = f"{self.path} cannot be opened: {error}. It is incomplete or damaged; fetch or write it again."
            raise CorruptFileError(msg) from error

    @property
    def is_closed(self) -> bool:
        """True if the file was closed."""
        return self._descriptor is None

    def check_open(self) -> None:
        """Raise ValueError if the file is closed."""
        _ = self.fd

    @property
    def size(self) -> int:
        """Bytes in all, when it was opened."""
        return self.stamp.size

    def is_unchanged(self) -> bool:
        """Return whether the file still has its stamp."""
        return self._current_stamp() == self.stamp

    def holder(self, element: h5py.Group | h5py.Dataset) -> SourceFile:
        """Return the file in which an element lies: another one, if the element is a link to there."""
        is_own = element.file.driver == "fileobj" or element.file.filename == str(self.path)
        return self if is_own else SourceFile(element.file.filename)

    def again(self, element: h5py.Group | h5py.Dataset) -> SourceFile:
        """Open the file in which an element lies once more, for a matrix that it belongs to."""
        path = Path(element.file.filename).absolute()
        return SourceFile(path, self.stamp if path == self.path else None)

    def close(self) -> None:
        """Release the descriptor, which is closed if no other matrix is read through it."""
        self._descriptor = None
        self.release()

    def _current_stamp(self) -> Stamp:
        status = os.fstat(self.fd)
        return Stamp(status.st_size, status.st_mtime_ns)

    def changed(self, before: Stamp | None = None) -> CorruptFileError:
        """Make the error that says that the file has another stamp than before."""
        before, now = before or self.stamp, self._current_stamp()
        sizes = f"its size went from {before.size} to {now.size} bytes"
        how = sizes if now.size != before.size else "its modification time differs"
        msg = f"{self.path} has changed since it was opened ({how}). Read it again with read_h5ad."
        return CorruptFileError(msg)


class _Stream(io.RawIOBase):
    """Reads through a descriptor, from a position of their own.

    The descriptor has one, too, but shares it with those of forked processes.

    Parameters
    ----------
    fd
        The descriptor, of which the stream has a duplicate.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._release = finalize(self, os.close, self._fd)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._fd).st_size}
        self._position = starts[whence] + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        view, n = memoryview(buffer).cast("B"), 0
        while n < len(view) and (more := os.preadv(self._fd, [view[n:]], self._position + n)):
            n += more  # a system may give less than is asked for, and HDF5 does not ask again
        self._position += n
        return n

    def close(self) -> None:
        self._release()
        super().close()


def _open(path: Path) -> int:
    if path.is_dir():
        msg = (
            f"{path} is a folder, not an h5ad file. "
            "If it is a Zarr store, open it with `anndata.read_zarr(path, backed='oom')`. "
            "If you need an h5ad file, call `write_h5ad` on the result."
        )
        raise IsADirectoryError(msg)
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        msg = "There is no such file"  # which Python completes with its name
        raise FileNotFoundError(error.errno, msg, str(path)) from error
    except OSError as error:
        say_many_files(error, path)
        raise


def _check_signature(path: Path, fd: int) -> None:
    if not any(_start(fd, at, len(_SIGNATURE)) == _SIGNATURE for at in _USER_BLOCKS):
        start = _start(fd, 0, 16)
        msg = (
            f"{path} is not an HDF5 file (it starts with {start!r}), so it is no h5ad file. "
            "Unpack it if it is compressed, or read it with the function for its format and write it as h5ad."
        )
        raise NotAnH5adError(msg)


def _start(fd: int, offset: int, n: int) -> bytes:
    """Read `n` bytes at `offset`, where other threads may do so."""
    if HAS_PREAD:
        return os.pread(fd, n, offset)
    with _lock:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, n)


def _is_open_as(fd: int, path: Path) -> bool:
    """Return whether `path` still names the file that is open."""
    return path.exists() and os.path.samestat(os.fstat(fd), path.stat())
