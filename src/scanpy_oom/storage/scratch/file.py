"""Scratch files: private, without a name, gone when closed or when the process ends."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np
import psutil

from ...errors import MemoryBudgetExceeded, OOMError
from ...memory.fork_lock import fork_safe_lock
from ...memory.ledger import ACCOUNTANT
from ...settings import format_bytes, settings

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ..abc import Values

__all__ = [
    "ScratchArray",
    "ScratchSpaceError",
    "SharedArray",
    "check_scratch_space",
    "lies_in_memory",
    "room_for_copies",
]


_HAS_POSITIONS = hasattr(os, "preadv") and hasattr(os, "pwrite")  # not on Windows, which forks no processes either
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ScratchSpaceError(OOMError, OSError):
    """`settings.scratch_dir` cannot take a scratch file."""


class ScratchArray:
    """A one-dimensional array in a scratch file. Threads may read and write at once.

    The file has no name from the start (or is unlinked at once, where the file system knows no nameless files), so
    that nothing is left behind, however the process ends.

    Parameters
    ----------
    dtype
        Type of the elements.

    Raises
    ------
    ScratchSpaceError
        If no file can be made in `settings.scratch_dir`.
    """

    def __init__(self, dtype: np.dtype) -> None:
        folder = settings.scratch_dir
        try:
            file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            msg = f"No scratch file can be made in {folder}: {error}. Set settings.scratch_dir to a folder that exists."
            raise ScratchSpaceError(msg) from error
        self._use(file, folder, dtype)

    def _use(self, file: FileIO, folder: Path, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._file = file
        self._release = finalize(self, file.close)
        self._folder = folder
        self._lock = fork_safe_lock()

    def write(self, values: Values, start: int) -> None:
        """Write `values` from position `start` on."""
        left = np.ascontiguousarray(values, dtype=self.dtype).view(np.uint8).data
        offset = start * self.dtype.itemsize
        while left:
            try:
                n = self._write_at(left, offset)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                raise _no_space(self._folder, len(left)) from error
            left, offset = left[n:], offset + n

    def read(self, start: int, out: Values) -> None:
        """Fill `out` with the elements from position `start` on."""
        left = out.view(np.uint8).data
        offset = start * self.dtype.itemsize
        while left:
            n = self._read_at(left, offset)
            if n == 0:
                msg = f"A scratch file in {self._folder} ends before byte {offset + len(left)}."
                raise OSError(errno.EIO, msg)
            left, offset = left[n:], offset + n

    def _write_at(self, values: memoryview, offset: int) -> int:
        if _HAS_POSITIONS:
            return os.pwrite(self._file.fileno(), values, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.write(values)

    def _read_at(self, out: memoryview, offset: int) -> int:
        if _HAS_POSITIONS:
            return os.preadv(self._file.fileno(), [out], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(out)

    def close(self) -> None:
        """Give the space back."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class SharedArray(ScratchArray):
    """A scratch file with a name, which other processes read. Who made its folder removes it.

    Parameters
    ----------
    path
        The file.
    dtype
        Type of the elements.
    new
        Whether it is made, and must not be there; else it is read.

    Raises
    ------
    ScratchSpaceError
        If it cannot be made or opened.
    """

    def __init__(self, path: Path, dtype: np.dtype, *, new: bool) -> None:
        try:
            file = path.open("x+b" if new else "rb", buffering=0)
        except OSError as error:
            msg = f"The scratch file {path} cannot be {'made' if new else 'read'}: {error}."
            raise ScratchSpaceError(msg) from error
        self._use(file, path.parent, dtype)


def check_scratch_space(n_bytes: int, purpose: str) -> None:
    """Make sure that scratch files of `n_bytes` fit `settings.scratch_dir`.

    Parameters
    ----------
    n_bytes
        What is about to be written.
    purpose
        What it is for, as a phrase that starts the message.

    Raises
    ------
    ScratchSpaceError
        If the disk has not that much free space.
    MemoryBudgetExceeded
        If the folder lies in memory and `n_bytes` exceed `settings.memory_limit`.
    """
    folder = settings.scratch_dir
    if not folder.is_dir():
        msg = f"settings.scratch_dir is {folder}, which is no folder. Set it to one that exists."
        raise ScratchSpaceError(msg)
    if lies_in_memory(folder) and n_bytes > settings.memory_limit:
        msg = (
            f"{purpose} takes {format_bytes(n_bytes)} of scratch space. {folder} lies in memory, "
            f"and settings.memory_limit is {format_bytes(settings.memory_limit)}. "
            "Set settings.scratch_dir to a folder on a disk, or raise the limit."
        )
        raise MemoryBudgetExceeded(msg)
    if n_bytes > shutil.disk_usage(folder).free:
        raise _no_space(folder, n_bytes, purpose)


def room_for_copies() -> int:
    """Return the bytes that compact copies may take in `settings.scratch_dir`: half of what is free.

    Of a folder that lies in memory, a quarter of what is left of `settings.memory_limit`.

    Raises
    ------
    ScratchSpaceError
        If there is no such folder.
    """
    folder = settings.scratch_dir
    if not folder.is_dir():
        msg = f"settings.scratch_dir is {folder}, which is no folder"
        raise ScratchSpaceError(msg)
    free = shutil.disk_usage(folder).free // 2
    return min(free, ACCOUNTANT.available() // 4) if lies_in_memory(folder) else free


def _no_space(folder: Path, n_bytes: int, purpose: str = "Writing scratch files") -> ScratchSpaceError:
    free = shutil.disk_usage(folder).free
    msg = (
        f"{purpose} takes {format_bytes(n_bytes)} of scratch space, and {folder} has {format_bytes(free)} free. "
        "Free some, or set settings.scratch_dir to a folder on another disk."
    )
    return ScratchSpaceError(errno.ENOSPC, msg)


def lies_in_memory(folder: Path) -> bool:
    """Return whether what is written to a folder takes memory, as on tmpfs."""
    here = folder.resolve()
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    nearest = next((str(path) for path in (here, *here.parents) if str(path) in mounts), "")
    return mounts.get(nearest) in {"tmpfs", "ramfs"}
