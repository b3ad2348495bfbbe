"""Errors of HDF5 and zarr about a damaged file become :class:`~scanpy_oom.CorruptFileError`."""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from traceback import walk_tb
from typing import TYPE_CHECKING

from ..errors import CorruptFileError, OOMError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["damage_is_named", "is_damage", "is_of_the_system", "say_many_files"]

_MANY_FILES = {errno.EMFILE, errno.ENFILE}

_SAID = (
    "Too many files are open. Close what is no longer needed (`adata.oom.close()`), or raise the limit before Python "
    "starts (`ulimit -n 4096`)"
)

_READS_NOWHERE = {None, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG}
"""Numbers of errors that come of an address in the file that is none; others are the system's own troubles."""

_LIBRARIES = {"h5py", "zarr", "numcodecs"}

_READERS = _LIBRARIES | sys.stdlib_module_names | {"anndata", "numpy", "pandas", "scipy", "scanpy_oom"}

_ELSEWHERE = ("can't open file", "external file", "external raw data file", "required filter", "verify its existence")
"""Words of HDF5 where this file is sound, but another file or a filter is missing."""

_UNKNOWN = {"IORegistryError", "UnknownCodecError"}
"""Errors of anndata and zarr about what is written in a way that the installed version does not know."""


def is_of_the_system(error: BaseException) -> bool:
    """Return whether an error has other causes than damage: memory, permissions, open or missing files."""
    if isinstance(error, MemoryError | ImportError | RecursionError | TimeoutError | Warning):
        return True
    return isinstance(error, OSError) and error.errno not in _READS_NOWHERE


def is_damage(error: BaseException) -> bool:
    """Return whether an error says of a file that it is damaged.

    h5py and zarr raise errors of many kinds for that. What tells these from the same kinds raised elsewhere is where
    they come from.
    """
    if not _may_be_damage(error):
        return False
    return bool(_packages(error) & _LIBRARIES)


def _is_of_anndata(error: BaseException) -> bool:
    """Return whether nothing but anndata, and what it reads with, was at work when an error was raised."""
    return _packages(error) <= _READERS


def _packages(error: BaseException) -> set[str]:
    """Name the packages whose functions an error came through."""
    return {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(error.__traceback__)}


def _may_be_damage(error: BaseException) -> bool:
    if isinstance(error, OOMError | NotImplementedError) or is_of_the_system(error):
        return False
    return type(error).__name__ not in _UNKNOWN and not any(said in str(error) for said in _ELSEWHERE)


@contextmanager
def damage_is_named(path: str | os.PathLike[str], name: str = "", *, by_anndata: bool = False) -> Iterator[None]:
    """Raise CorruptFileError in place of what is said of a damaged file.

    Parameters
    ----------
    path
        The file.
    name
        What is read of it, as in `"/obs/louvain"`.
    by_anndata
        Whether anndata reads it, which says by errors of many kinds that something is damaged. Otherwise it is but what
        comes from HDF5 or zarr. Errors of readers that others have registered with anndata stay as they are.
    """
    try:
        yield
    except Exception as error:
        say_many_files(error, path)
        if not (is_damage(error) or (by_anndata and _may_be_damage(error) and _is_of_anndata(error))):
            raise
        where = f"{path}: {name}" if name else str(path)
        msg = f"{where} cannot be read: {_said(error)}. The file is damaged; fetch or write it again."
        raise CorruptFileError(msg) from error


def say_many_files(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Say what can be done, if an error is that no more files may be open."""
    if isinstance(error, OSError) and error.errno in _MANY_FILES and error.strerror != _SAID:
        raise OSError(error.errno, _SAID, str(path)) from error


def _said(error: Exception) -> str:
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return f"{type(error).__name__}: {said}".rstrip(".: ")
