"""Matrices that lie in a container: a file or a store."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from ..arrays.compressed import CompressedArrays
from .base import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..abc import Container
    from ..nodes import GroupNode

__all__ = ["CompressedSource", "StoredSource"]


class StoredSource(Source):
    """A matrix in a container.

    It pickles as the container and the name of the matrix, and is opened again where it is unpickled.

    Parameters
    ----------
    container
        What holds it, which from here on belongs to the source.
    name
        Name of the matrix there, as in `"/layers/counts"`.
    """

    def __init__(self, container: Container, name: str) -> None:
        self.container = container
        self.name = name
        self.path = container.path
        self.location = f"{container.path.name}:{name}"
        self.backend = container.backend

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from the container so far, as stored there (compressed)."""
        return self.container.counter.total

    def check_open(self) -> None:
        """Raise ValueError if the source is closed, CorruptFileError if the file is another; for who reads a copy."""
        with self.container.unchanged():
            pass

    def close(self) -> None:
        """Release the container. Reading from a closed source raises ValueError."""
        self.container.close()

    def __copy__(self) -> Source:
        from .open import open_matrix

        return open_matrix(copy(self.container), self.name)  # each source closes its own

    def __reduce__(self) -> tuple[Callable[..., Source], tuple[object, ...]]:
        from .open import open_matrix

        return open_matrix, (self.container, self.name)


class CompressedSource(StoredSource):
    """A matrix of three arrays, compressed by rows or by columns.

    Parameters
    ----------
    container
        What holds it, which from here on belongs to the source.
    group
        The group of the arrays; only its description is kept.
    shape
        Number of rows and of columns.
    """

    def __init__(self, container: Container, group: GroupNode, shape: tuple[int, int]) -> None:
        super().__init__(container, group.name)
        self.shape = shape
        self.arrays = CompressedArrays(container, group, *(shape if self.format == "csr" else shape[::-1]))
        self.dtype = self.arrays.dtype
        self.nnz = self.arrays.nnz
        self.nbytes = self.arrays.nbytes
        self.compression = self.arrays.compression

    def close(self) -> None:
        """Release the container. Reading from a closed source raises ValueError."""
        self.arrays.close()
        super().close()
