"""An HDF5 file that is being read: a descriptor for direct reads, and the certainty that it has not changed."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize

import h5py
import numpy as np

from ..errors import CorruptFileError, NotAnH5adError, OOMError
from .buffers import BUFFERS
from .source import ByteCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .chunked import ChunkReader
    from .source import Source

__all__ = ["HAS_PREAD", "SourceFile", "Stamp"]

HAS_PREAD = hasattr(os, "preadv")
"""Whether the system reads from a place in a file whatever thread asks; where it does not (Windows), h5py reads all."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)


class Stamp(NamedTuple):
    """What tells whether a file has changed: size in bytes, time of modification in nanoseconds."""

    size: int
    mtime: int


class SourceFile:
    """An HDF5 file that is open for direct reads.

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

    def __init__(self, path: str | os.PathLike[str], stamp: Stamp | None = None) -> None:
        self.path = Path(path).absolute()
        self._fd: int | None = _open(self.path)
        self._release = finalize(self, os.close, self._fd)
        self.counter = ByteCounter()
        self.stamp = self._current_stamp()
        if stamp is not None and stamp != self.stamp:
            raise self._changed(stamp)
        self.stamp = Stamp(*stamp) if stamp is not None else self.stamp
        _check_signature(self.path, self._fd)

    @property
    def fd(self) -> int:
        """The file descriptor."""
        if self._fd is None:
            msg = f"{self.path} has been closed; read it again with read_h5ad."
            raise ValueError(msg)
        return self._fd

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
        try:
            if _is_open_as(self.fd, self.path):
                return h5py.File(self.path, "r")
            # Another file has taken the name since; ours lives on as long as its descriptor.
            return h5py.File(_Stream(self.fd), "r")
        except BlockingIOError as error:
            msg = (
                "Another process has this file open for writing. Wait until it is closed there; "
                "if nothing is written any more, set the environment variable HDF5_USE_FILE_LOCKING to FALSE"
            )
            raise BlockingIOError(error.errno, msg, str(self.path)) from error
        except OSError as error:
            msg = f"{self.path} cannot be opened: {error}. It is incomplete or damaged; fetch or write it again."
            raise CorruptFileError(msg) from error

    def chunks(self, dataset: h5py.Dataset) -> ChunkReader:
        """Return what reads the chunks of a dataset."""
        from .chunked import open_chunks

        return open_chunks(self, dataset)

    def check_holds(self, group: h5py.Group, key: str) -> None:
        """Raise OOMError if what `group` names `key` lies in another file, to which there is a link."""
        if group[key].file.filename != group.file.filename:
            msg = (
                f"{self.path}: {group.name}/{key} is a link to {group[key].file.filename}. "
                "The arrays of a matrix must lie in one file; copy them into one."
            )
            raise OOMError(msg)

    def reopener(self) -> Callable[..., Source]:
        """Return what opens a matrix again, from path, name and stamp."""
        from .open import open_source

        return open_source

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise, once the block is done or has failed, if the file was not the same throughout."""
        try:
            yield
        except (CorruptFileError, OSError) as error:
            if self._fd is not None and self._current_stamp() != self.stamp:
                raise self._changed(self.stamp) from error
            raise
        if self._current_stamp() != self.stamp:
            raise self._changed(self.stamp)

    def close(self) -> None:
        """Release the descriptor."""
        self._release()
        self._fd = None

    def _current_stamp(self) -> Stamp:
        status = os.fstat(self.fd)
        return Stamp(status.st_size, status.st_mtime_ns)

    def _changed(self, before: Stamp) -> CorruptFileError:
        now = self._current_stamp()
        msg = (
            f"{self.path} has changed since it was opened (it had {before.size} bytes, modified at {before.mtime} ns, "
            f"and has {now.size}, modified at {now.mtime}). Read it again with read_h5ad."
        )
        return CorruptFileError(msg)


class _Stream(io.RawIOBase):
    """What is read through a descriptor, from a place of its own.

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

    def readinto(self, buffer: Any) -> int:
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
            "If it is a Zarr store, read it with anndata.read_zarr and write it as h5ad."
        )
        raise IsADirectoryError(msg)
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        msg = "There is no such file"  # which Python completes with its name
        raise FileNotFoundError(error.errno, msg, str(path)) from error


def _check_signature(path: Path, fd: int) -> None:
    if not any(_start(fd, at, len(_SIGNATURE)) == _SIGNATURE for at in _USER_BLOCKS):
        start = _start(fd, 0, 16)
        msg = (
            f"{path} is not an HDF5 file (it starts with {start!r}), so it is no h5ad file. "
            "Unpack it if it is compressed, or read it with the function for its format and write it as h5ad."
        )
        raise NotAnH5adError(msg)


def _start(fd: int, offset: int, n: int) -> bytes:
    """Read `n` bytes at `offset` of a file that was just opened and that nothing else reads yet."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, n)


def _is_open_as(fd: int, path: Path) -> bool:
    """Tell whether `path` still names the file that is open."""
    return path.exists() and os.path.samestat(os.fstat(fd), path.stat())
