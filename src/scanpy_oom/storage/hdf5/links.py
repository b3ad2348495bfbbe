"""References of an HDF5 file to other files: external links, external storage and virtual datasets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from ...errors import OOMError
from ...settings import settings
from ..damage import damage_is_named

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_links"]

_SHOWN = 5
"""Links that a message names; a file may have thousands."""

_HERE = "."
"""The name of its own file in a virtual dataset."""


def check_links(path: Path, h5: h5py.File) -> str:
    """Look what a file says is in other files. These are not opened for that.

    Parameters
    ----------
    path
        The file.
    h5
        The same, open.

    Returns
    -------
    What is to be warned of; nothing if the file holds all that it shows.

    Raises
    ------
    OOMError
        If something is elsewhere, and ``settings.follow_links`` is off.
    """
    found = sorted(set(_elsewhere(path, h5)))
    if not found:
        return ""
    said = ", ".join(f"{name} in {file}{_missing(path, file)}" for name, file in found[:_SHOWN])
    said += f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if settings.follow_links:
        return (
            f"{path} refers to data in other files, which are read as well: {said}. "
            "`scanpy_oom.settings.follow_links = False` refuses such files."
        )
    msg = (
        f"{path} refers to data in other files: {said}. They are not read, because settings.follow_links is off. "
        "Set `scanpy_oom.settings.follow_links = True` if you trust the author of the file, "
        "or ask for a single file that contains everything."
    )
    raise OOMError(msg)


def _elsewhere(path: Path, h5: h5py.File) -> Iterator[tuple[str, str]]:
    """Yield names in a file, and the files in which what they stand for is."""
    groups = [("", h5.id)]
    seen = {h5py.h5o.open(h5.id, b"/")}  # a group may have several names, some of them within itself
    while groups:
        above, group = groups.pop()
        links: list[tuple[bytes, int]] = []
        with damage_is_named(path, above or "/"):
            group.links.iterate(lambda name, info, links=links: links.append((name, info.type)), info=True)
        for name, kind in links:
            full = f"{above}/{os.fsdecode(name)}"
            with damage_is_named(path, full):
                if kind == h5py.h5l.TYPE_HARD:
                    element = h5py.h5o.open(group, name)
                    if isinstance(element, h5py.h5d.DatasetID):
                        yield from ((full, file) for file in _files_of(element))
                    elif isinstance(element, h5py.h5g.GroupID) and element not in seen:
                        seen.add(element)
                        groups.append((full, element))
                elif kind == h5py.h5l.TYPE_EXTERNAL:
                    yield full, os.fsdecode(group.links.get_val(name)[0])
                elif kind != h5py.h5l.TYPE_SOFT:
                    yield full, "a place known only to the program that wrote the file"


def _files_of(dataset: h5py.h5d.DatasetID) -> set[str]:
    """Return the other files in which values of a dataset are."""
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        return {properties.get_virtual_filename(i) for i in range(properties.get_virtual_count())} - {_HERE}
    return {os.fsdecode(properties.get_external(i)[0]) for i in range(properties.get_external_count())}


def _missing(path: Path, file: str) -> str:
    """Say so if a file is not where HDF5 looks for it; of a virtual dataset it gives zeros then."""
    return "" if any((folder / file).exists() for folder in (path.parent, Path.cwd())) else " (missing)"
