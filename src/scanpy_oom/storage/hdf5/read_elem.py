"""Reading one element of an HDF5 file that somebody has opened: its matrices as sources."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import h5py
from anndata.experimental import read_dispatched

from ..sources.open import is_streamable, make_source
from .file import SourceFile
from .links import check_links

if TYPE_CHECKING:
    from collections.abc import Callable

    import zarr
    from anndata.experimental import IOSpec
    from zarr.types import AnyArray

    from ..sources.base import Source

    Element: TypeAlias = h5py.Group | h5py.Dataset

__all__ = ["holds_matrix", "read_element", "why_in_memory"]

_ANNOTATIONS = {"obs", "var", "obsm", "varm", "obsp", "varp", "uns"}
"""Kinds of elements that are read into memory, as by anndata."""

_DRIVERS = {"sec2", "stdio"}
"""Those of files that have a name by which they may be opened again."""


def holds_matrix(element: Element | zarr.Group | AnyArray) -> bool:
    """Return whether an element is an X or a layer, or an AnnData or a group of these, by its name and encoding."""
    names = str(element.name).strip("/").split("/")
    if _ANNOTATIONS.intersection(names):
        return False
    encoding = str(element.attrs.get("encoding-type", ""))
    if hasattr(element, "ndim"):
        return _is_named_so(names) and encoding in {"", "array"} and element.ndim == 2
    if encoding in {"csr_matrix", "csc_matrix"} or "h5sparse_format" in element.attrs:
        return True
    return encoding in {"anndata", "raw"} or names[-1] == "layers" or (names == [""] and "X" in element)


def _is_named_so(names: list[str]) -> bool:
    return names[-1] == "X" or names[-2:-1] == ["layers"]


def why_in_memory(element: object) -> str:
    """Say why an element cannot be left on disk; nothing if it can.

    What may be written to by those who have it open would change under the matrix, or be gone.
    """
    if not isinstance(element, h5py.Group | h5py.Dataset):
        return "what is open as a Zarr store may be written to"
    file = element.file
    if file.mode != "r" or file.swmr_mode:
        return f"{file.filename} is open for writing"
    if file.driver not in _DRIVERS or not _is_at_its_place(file):
        return f"{file.filename} is no file that can be opened again by its name"
    encoding = element.attrs.get("encoding-type", "")
    if isinstance(element, h5py.Group) and encoding == "" and element.name == "/":
        return f"{file.filename} was written by anndata before 0.7, or is no h5ad file"
    return ""


def _is_at_its_place(file: h5py.File) -> bool:
    """Return whether the name of a file leads to the file that is open."""
    try:
        return os.path.samestat(Path(file.filename).stat(), os.fstat(file.id.get_vfd_handle()))
    except (OSError, NotImplementedError):
        return False


def read_element(element: Element, wrap: Callable[[Source], object], warn: Callable[[str], None]) -> object:
    """Read an element without its matrices.

    For as long as these are read from, HDF5 refuses to open the file for writing in this process: a script that has
    opened it once may do so again, and what it wrote over would be lost.

    Parameters
    ----------
    element
        The element, of a file for which :func:`why_in_memory` has nothing to say.
    wrap
        Makes what stands for a matrix from its source.
    warn
        Is told what is to be warned of.

    Returns
    -------
    What ``anndata.io.read_elem`` gives, with what `wrap` made as X, each layer and X of raw, or as the element itself.

    Raises
    ------
    CorruptFileError
        If the file is damaged.
    OOMError
        If it says that some of it is in other files, and ``settings.follow_links`` is off.
    """
    file = SourceFile(element.file.filename)
    if elsewhere := check_links(file.path, element.file):
        warn(elsewhere)

    def callback(read_func: Callable[[Element], object], name: str, element: Element, iospec: IOSpec) -> object:
        is_matrix = iospec.encoding_type not in {"anndata", "raw"} and holds_matrix(element)
        if is_matrix and is_streamable(element):
            with file.damage_is_named(name):
                held = file.again(element)
                held.hold()
                return wrap(make_source(held, element))
        with file.damage_is_named(name, by_anndata=True):
            return read_func(element)

    try:
        return read_dispatched(element, callback)
    finally:
        file.close()
