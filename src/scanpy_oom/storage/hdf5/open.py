"""Opening a matrix in an HDF5 file as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sources.open import open_matrix
from .file import SourceFile

if TYPE_CHECKING:
    import os

    from ..sources.base import Source
    from .file import Stamp

__all__ = ["open_source"]


def open_source(path: str | os.PathLike[str], name: str = "/X", stamp: Stamp | None = None) -> Source:
    """Open one matrix of an h5ad file.

    Parameters
    ----------
    path
        The file.
    name
        Name of the matrix in it.
    stamp
        What the file must look like, when it was opened before.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, NotAnH5adError
        If `path` is no HDF5 file.
    KeyError
        If it holds no such matrix.
    TypeError
        If what it holds by that name cannot be streamed.
    CorruptFileError
        If the file is damaged, or does not have the stamp.
    OOMError
        If it says that some of it is in other files, and ``settings.follow_links`` is off.
    """
    return open_matrix(SourceFile(path, stamp), name)
