"""The contracts of storage: containers, the arrays in chunks that they hold, and the codecs of chunks.

A format of files is a :class:`Container` and its :class:`ChunkedArray`. All else, sources and what reads them, goes
through these two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np

from ..errors import CorruptFileError, MemoryBudgetExceeded
from ..settings import format_bytes, settings
from .damage import damage_is_named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from .byte_counter import ByteCounter
    from .nodes import ArrayNode, GroupNode, Node

    Stored: TypeAlias = bytes | bytearray | memoryview

    Values: TypeAlias = NDArray[np.number | np.bool_]
    """Numbers of any type, or booleans."""

    Floats: TypeAlias = NDArray[np.float32 | np.float64]
    """Numbers as they are computed with."""

__all__ = ["ByteContainer", "ByteRanges", "ChunkedArray", "Codec", "Container", "ReadCost"]

Value = TypeVar("Value", bound=np.number | np.bool_)

_LARGE = 2**24  # bytes of a chunk from which it is held against the memory limit


class ReadCost(NamedTuple):
    """Bytes that a read fetches, and whether more can be said.

    Parameters
    ----------
    nbytes
        Bytes as stored, each chunk counted once.
    certain
        Whether it is known that each chunk is fetched, and fetched once.
    """

    nbytes: int
    certain: bool


class ByteRanges(NamedTuple):
    """Places of the chunks of an array in their container, each array in the shape of the grid of chunks.

    Parameters
    ----------
    starts
        Address of the first byte; -1 of a chunk that is not stored.
    sizes
        Bytes that are stored.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.uint32]


class Codec(ABC):
    """One filter that the bytes of a chunk went through on their way to the file."""

    name: ClassVar[str]
    """Name in messages, and of the compression of an array."""

    @abstractmethod
    def decode(self, stored: Stored, n_bytes: int, itemsize: int) -> Stored:
        """Undo the filter.

        Parameters
        ----------
        stored
            Bytes that the filter gave.
        n_bytes
            Bytes of the decoded chunk; never more are unpacked, whatever is stored.
        itemsize
            Bytes of one value.

        Raises
        ------
        ValueError
            If `stored` is not what the filter gives.
        """

    def encode(self, content: NDArray[np.uint8], itemsize: int) -> Stored:
        """Apply the filter, where chunks are written with it.

        Parameters
        ----------
        content
            Bytes of whole values, side by side.
        itemsize
            Bytes of one value.
        """
        msg = f"Chunks are not written with {self.name}."
        raise NotImplementedError(msg)


class ChunkedArray(ABC):
    """An array of any rank in a container, whose chunks are read one by one. Threads may read at once.

    Parameters
    ----------
    container
        What holds it.
    name
        Its name there.
    shape
        Length of each axis.
    stored_dtype
        Type of the values, in the byte order in which they are stored.
    chunk_shape
        Shape of a chunk; those at the far edges may be cut.
    compression
        Name of the compression, or `"none"`.

    Attributes
    ----------
    dtype
        Type of the values in native byte order.
    location
        Where it is, for messages.
    unstored
        Numbers of chunks that were read as zeros although nothing is stored of them, where that may be damage.
    """

    def __init__(
        self,
        container: Container,
        name: str,
        shape: tuple[int, ...],
        stored_dtype: np.dtype,
        chunk_shape: tuple[int, ...],
        compression: str,
    ) -> None:
        self.container = container
        self.name = name
        self.location = f"{container.path.name}:{name}"
        self.shape = shape
        self.stored_dtype = stored_dtype
        self.dtype = stored_dtype.newbyteorder("=")
        self.chunk_shape = chunk_shape
        self.compression = compression
        self.unstored: set[int] = set()

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that are stored."""

    @abstractmethod
    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> Values:
        """Read the `extent` values from `origin` on, which make up the chunk `index`."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.chunk_shape, strict=True))

    @property
    def chunk_nbytes(self) -> int:
        """Size of a decoded chunk."""
        return math.prod(self.chunk_shape) * self.stored_dtype.itemsize

    def read(self, *index: int) -> Values:
        """Read and decode the chunk at this position in the grid, cut at the edge of the array.

        Returns
        -------
        Its values in native byte order; possibly read-only.

        Raises
        ------
        CorruptFileError
            If the chunk cannot be read or decoded.
        MemoryBudgetExceeded
            If one chunk is larger than `settings.memory_limit`.
        """
        self._check_size()
        origin, extent = self._place(index)
        return self._native(self._read(index, origin, extent))

    def read_each(self, first: int, stop: int) -> Iterator[Values]:
        """Read some chunks of an array of one dimension, as :meth:`read` does, one after the other."""
        return (self.read(i) for i in range(first, stop))

    def inflate(self, first: int, stop: int, bounds: tuple[int, int], out: Values) -> int:
        """Read some chunks of an array of one dimension into `out`, as long as that goes in a compiled loop.

        Parameters
        ----------
        first, stop
            Positions of the chunks in the grid.
        bounds
            Between which integers must lie, both allowed.
        out
            Written: the values of the chunks, in its own type.

        Returns
        -------
        Number of chunks read. It ends before one that is damaged, or holds other integers, or is stored in another way
        than with gzip alone: such a chunk is for :meth:`read`.
        """
        return 0

    def byte_ranges(self) -> ByteRanges | None:
        """Look up where each chunk lies in the container.

        Returns
        -------
        None if it is stored in one piece, or where only the library of the format knows.
        """
        return None

    def estimate_read(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> ReadCost:
        """Estimate what is fetched for the elements from each start to its stop, in an array of one dimension.

        Parameters
        ----------
        starts, stops
            Ascending, and none of the ranges is empty.
        """
        if not starts.size:
            return ReadCost(0, certain=True)
        n, (length,), ranges = self.shape[0], self.chunk_shape, self.byte_ranges()
        if ranges is None:
            share = int((stops - starts).sum())
            return ReadCost(self.nbytes * share // n, certain=share == n)
        change = np.zeros(ranges.sizes.size + 1, dtype=np.int64)
        np.add.at(change, starts // length, 1)
        np.add.at(change, (stops - 1) // length + 1, -1)
        return ReadCost(int(ranges.sizes[np.cumsum(change[:-1]) > 0].sum(dtype=np.int64)), certain=True)

    def close(self) -> None:
        """Release what reading chunks keeps open: nothing, unless a kind of array says otherwise."""
        return

    def _check_size(self) -> None:
        if self.chunk_nbytes > _LARGE and self.chunk_nbytes > settings.memory_limit:
            msg = (
                f"Reading {self.location} takes {format_bytes(self.chunk_nbytes)} for one chunk of {self.chunk_shape}, "
                f"and settings.memory_limit is {format_bytes(settings.memory_limit)}. "
                "Raise the limit, or write the file again with smaller chunks."
            )
            raise MemoryBudgetExceeded(msg)

    def _place(self, index: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return where a chunk begins, and how many of its values lie within the array."""
        origin = tuple(i * size for i, size in zip(index, self.chunk_shape, strict=True))
        return origin, tuple(
            min(size, n - at) for size, n, at in zip(self.chunk_shape, self.shape, origin, strict=True)
        )

    def _native(self, values: Values) -> Values:
        return values if values.dtype.isnative else values.astype(self.dtype)

    def _damaged(self, origin: tuple[int, ...], reason: object) -> CorruptFileError:
        at = origin[0] if len(origin) == 1 else origin
        msg = (
            f"{self.container.path}: the chunk of {self.name} that starts at {at} is damaged: {reason}. "
            "Fetch or write the file again."
        )
        return CorruptFileError(msg)


class Container(ABC):
    """A file or store of arrays, as it was when it was opened.

    It pickles as its path and its stamp, and is opened again, and held to be the same, where it is unpickled.

    Attributes
    ----------
    backend
        Kind of storage, in anndata's terms.
    path
        Where it is.
    stamp
        What tells it from what another writer makes of it: equal as long as nothing is written to it.
    counter
        Count of the bytes that were fetched.
    """

    backend: ClassVar[str]
    path: Path
    stamp: tuple[object, ...] | None
    counter: ByteCounter

    @abstractmethod
    def open_array(self, array: str | ArrayNode) -> ChunkedArray:
        """Open an array, by its name or as it is found in a group; only its description is kept."""

    @abstractmethod
    def element(self, name: str) -> AbstractContextManager[Node]:
        """Look up an array or a group, for the time of the context.

        Raises
        ------
        KeyError
            If there is none of this name.
        """

    def attributes(self, name: str = "/") -> dict[str, Any]:
        """Read the attributes of an array or a group."""
        with self.element(name) as element:
            return dict(element.attrs)

    def holder(self, element: Node) -> Container:
        """Return the container in which an element lies: another one, if the element is a link to there."""
        return self

    def check_holds(self, group: GroupNode, key: str) -> None:  # noqa: B027 - most hold what they show
        """Raise OOMError if what `group` names `key` lies in another file, to which there is a link."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """True if it was closed."""

    @abstractmethod
    def check_open(self) -> None:
        """Raise ValueError if it is closed."""

    @abstractmethod
    def is_unchanged(self) -> bool:
        """Return whether it still has its stamp."""

    @abstractmethod
    def changed(self) -> CorruptFileError:
        """Make the error that says that it has not."""

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise, once the block is done or has failed, if the container was not the same throughout."""
        self.check_open()
        try:
            yield
        except (CorruptFileError, OSError) as error:
            if not self.is_closed and not self.is_unchanged():
                raise self.changed() from error
            raise
        if not self.is_unchanged():
            raise self.changed()

    def damage_is_named(self, name: str = "", *, by_anndata: bool = False) -> AbstractContextManager[None]:
        """Raise CorruptFileError in place of what is said of `name`; see :mod:`~scanpy_oom.storage.damage`."""
        return damage_is_named(self.path, name, by_anndata=by_anndata)

    @abstractmethod
    def close(self) -> None:
        """Release it. Reading from it raises ValueError from now on."""

    def __reduce__(self) -> tuple[type[Container], tuple[str, tuple[object, ...] | None]]:
        return type(self), (str(self.path), self.stamp)


class ByteContainer(Container):
    """A container whose bytes can be read by their places: a file, or what answers requests for ranges."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes in all."""

    @abstractmethod
    def pread(self, n: int, offset: int) -> NDArray[np.uint8]:
        """Read `n` bytes at `offset`.

        Raises
        ------
        CorruptFileError
            If there are fewer.
        """
