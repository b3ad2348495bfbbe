"""Anything that the HDF5 library opens, whose bytes can be read past it: a file, or one that lies elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import OOMError
from ..abc import ByteContainer
from ..byte_counter import ByteCounter
from .links import check_links

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py

    from ..abc import ChunkedArray

__all__ = ["HDF5Container"]


class HDF5Container(ByteContainer):
    """An HDF5 file, wherever its bytes are."""

    backend = "hdf5"

    def __init__(self) -> None:
        self.counter = ByteCounter()
        self._held: h5py.File | None = None

    @abstractmethod
    def open_library(self) -> h5py.File:
        """Open the file with h5py, for what is not read directly; the caller closes it."""

    def hold(self) -> None:
        """Have HDF5 refuse, in this process, to open the file for writing, for as long as it is read from."""
        self._held = self.open_library()

    def release(self) -> None:
        """End what :meth:`hold` began."""
        if self._held is not None:
            self._held.close()
            self._held = None

    @contextmanager
    def library(self, name: str = "") -> Iterator[h5py.File]:
        """Open the file with h5py, for the time of the context, to read what `name` stands for.

        Raises
        ------
        CorruptFileError
            If it is damaged there.
        """
        h5 = self.open_library()
        with self.damage_is_named(name), h5:
            yield h5

    @contextmanager
    def element(self, name: str) -> Iterator[h5py.Group | h5py.Dataset]:
        """Look up a dataset or a group, for the time of the context.

        Raises
        ------
        KeyError
            If there is none of this name.
        OOMError
            If some of the file is in other files, and ``settings.follow_links`` is off.
        """
        with self.library(name) as h5:
            check_links(self.path, h5)
            if name not in h5:
                msg = f"{self.path} holds no {name}."
                raise KeyError(msg)
            yield h5[name]

    def open_array(self, array: str | h5py.Dataset) -> ChunkedArray:
        """Open a dataset, by its name or as it is found in a group; only its description is kept."""
        from .chunks import open_chunks

        if isinstance(array, str):
            with self.element(array) as dataset:
                return self.open_array(dataset)
        with self.damage_is_named(array.name):
            return open_chunks(self, array)

    def check_holds(self, group: h5py.Group, key: str) -> None:
        """Raise OOMError if what `group` names `key` lies in another file, to which there is a link."""
        if group[key].file.filename != group.file.filename:
            msg = (
                f"{self.path}: {group.name}/{key} is a link to {group[key].file.filename}. "
                "The arrays of a matrix must lie in one file; copy them into one."
            )
            raise OOMError(msg)
