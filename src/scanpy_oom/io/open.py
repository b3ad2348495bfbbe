"""From a matrix in an HDF5 file to the source that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

from .file import SourceFile
from .hdf5 import CSRSource
from .shapes import stored_shape
from .source import Source, is_supported_dtype

if TYPE_CHECKING:
    import os

    from .file import Stamp

__all__ = ["is_streamable", "make_source", "open_source"]


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
    """
    file = SourceFile(path, stamp)
    with file.open_library() as h5:
        if name not in h5:
            msg = f"{file.path} holds no {name}."
            raise KeyError(msg)
        element = h5[name]
        if not is_streamable(element):
            msg = f"{file.path}: {name} is no matrix of numbers, compressed by rows or columns or dense."
            raise TypeError(msg)
        if element.file.filename != h5.filename:  # a link to another file
            file = SourceFile(element.file.filename)
        return make_source(file, element)


def is_streamable(element: h5py.Group | h5py.Dataset) -> bool:
    """Tell whether :func:`make_source` reads this element: numbers, as CSR, CSC or a dense matrix."""
    if isinstance(element, h5py.Dataset):
        encoding = element.attrs.get("encoding-type", "array")
        return encoding == "array" and element.ndim == 2 and is_supported_dtype(element.dtype)
    if _sparse_format(element) is None:
        return False
    data = element.get("data")
    return not isinstance(data, h5py.Dataset) or is_supported_dtype(data.dtype)


def make_source(file: SourceFile, element: h5py.Group | h5py.Dataset) -> Source:
    """Make the source for an element for which :func:`is_streamable` holds.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    element
        The element, open with h5py; only its description is kept.
    """
    if isinstance(element, h5py.Dataset):
        from .dense import DenseSource

        return DenseSource(file, element)
    shape = stored_shape(file.path, element)
    if _sparse_format(element) == "csr":
        return CSRSource(file, element, shape)
    from .csc import CSCSource

    return CSCSource(file, element, shape)


def _sparse_format(group: h5py.Group) -> str | None:
    """Read how a group stores a sparse matrix; anndata before 0.7 said it in an attribute of its own."""
    encoding = group.attrs.get("encoding-type")
    if encoding is None:
        encoding = f"{group.attrs.get('h5sparse_format')}_matrix"
    return {"csr_matrix": "csr", "csc_matrix": "csc"}.get(str(encoding))
