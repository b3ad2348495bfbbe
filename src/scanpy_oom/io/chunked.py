"""Chunks of one HDF5 dataset: where they lie in the file, and their decoded values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from ..errors import CorruptFileError, MemoryBudgetExceeded
from ..settings import format_bytes, settings
from .codecs import FilterPipeline
from .file import HAS_PREAD
from .inflate import inflate_each, is_available
from .locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .file import SourceFile

__all__ = ["ChunkReader", "open_chunks"]

_PIECE = 2**19  # bytes per read where the dataset itself is not chunked
_LARGE = 2**24  # bytes of a chunk from which it is held against the memory limit
_MAX_DIRECT = 2**30  # bytes of a chunk up to which all decoders here work
_UNWRITTEN = -1
_OVERHEAD = 2**12  # bytes that filters may add to a chunk
_TOGETHER = 2**20  # bytes up to which chunks are fetched at a time
_INFLATED = {np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)} | {np.dtype("f4"), np.dtype("f8")}


class _Extent(NamedTuple):
    """Chunks that lie side by side in a file: number of the first, address, bytes in all, and size and mask of each."""

    first: int
    address: int
    nbytes: int
    sizes: list[int]
    masks: list[int]


class ChunkReader(ABC):
    """The chunks of one dataset of any rank.

    Parameters
    ----------
    file
        The file that holds the dataset.
    dataset
        The dataset, open with h5py; only its description is kept.
    pipeline
        Its filters.
    """

    def __init__(self, file: SourceFile, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        self.file = file
        self.name: str = dataset.name
        self.location = f"{file.path.name}:{self.name}"
        self.shape: tuple[int, ...] = dataset.shape
        self.stored_dtype = np.dtype(dataset.dtype.str)
        self.dtype = self.stored_dtype.newbyteorder("=")
        self.pipeline = pipeline
        self.nbytes: int = dataset.id.get_storage_size()
        self.chunk_shape: tuple[int, ...] = self._chunk_shape(dataset)

    def _chunk_shape(self, dataset: h5py.Dataset) -> tuple[int, ...]:
        return dataset.chunks or _piece_shape(self.shape, self.stored_dtype.itemsize)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.chunk_shape, strict=True))

    @property
    def chunk_nbytes(self) -> int:
        """Size of a decoded chunk."""
        return math.prod(self.chunk_shape) * self.stored_dtype.itemsize

    def read(self, *index: int) -> NDArray[Any]:
        """Read and decode the chunk at this position in the grid, cut at the dataset's edge.

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

    def read_each(self, first: int, stop: int) -> Iterator[NDArray[Any]]:
        """Read some chunks of a dataset of one dimension, as :meth:`read` does, one after the other."""
        return (self.read(i) for i in range(first, stop))

    def inflate(self, first: int, stop: int, bounds: tuple[int, int], out: NDArray[Any]) -> int:
        """Read some chunks of a dataset of one dimension into `out`, as long as that goes in a compiled loop.

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

    def _check_size(self) -> None:
        if self.chunk_nbytes > _LARGE and self.chunk_nbytes > settings.memory_limit:
            msg = (
                f"Reading {self.location} takes {format_bytes(self.chunk_nbytes)} for one chunk of {self.chunk_shape}, "
                f"and settings.memory_limit is {format_bytes(settings.memory_limit)}. "
                "Raise the limit, or write the file again with smaller chunks."
            )
            raise MemoryBudgetExceeded(msg)

    def _place(self, index: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return where a chunk begins, and how many of its values lie within the dataset."""
        origin = tuple(i * size for i, size in zip(index, self.chunk_shape, strict=True))
        return origin, tuple(
            min(size, n - at) for size, n, at in zip(self.chunk_shape, self.shape, origin, strict=True)
        )

    def _native(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if values.dtype.isnative else values.astype(self.dtype)

    @abstractmethod
    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> NDArray[Any]:
        """Read the `extent` values from `origin` on, which make up the chunk `index`."""

    def close(self) -> None:
        """Release what reading chunks keeps open: nothing, unless a kind of reader says otherwise."""
        return

    def _damaged(self, origin: tuple[int, ...], reason: object) -> CorruptFileError:
        at = origin[0] if len(origin) == 1 else origin
        msg = (
            f"{self.file.path}: the chunk of {self.name} that starts at {at} is damaged: {reason}. "
            "Fetch or write the file again."
        )
        return CorruptFileError(msg)

    def _fetch(self, origin: tuple[int, ...], n: int, offset: int) -> NDArray[np.uint8]:
        """Read the `n` bytes at `offset` of the file, where the chunk at `origin` is stored."""
        if offset + n > self.file.stamp.size:
            reason = f"its {n} bytes are to be at byte {offset}, and the file ends at byte {self.file.stamp.size}"
            raise self._damaged(origin, reason)
        return self.file.pread(n, offset)


class ContiguousReader(ChunkReader):
    """A dataset whose bytes lie in one piece, which is cut into chunks of whole rows."""

    def __init__(self, file: SourceFile, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._offset: int = dataset.id.get_offset()

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> NDArray[Any]:
        row_nbytes = math.prod(self.shape[1:]) * self.stored_dtype.itemsize
        stored = self._fetch(origin, extent[0] * row_nbytes, self._offset + origin[0] * row_nbytes)
        return stored.view(self.stored_dtype).reshape(extent)


class DirectReader(ChunkReader):
    """A chunked dataset whose filters are undone here, past the HDF5 library and its lock."""

    def __init__(self, file: SourceFile, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._fill_value = dataset.fillvalue
        self._inflates = pipeline.is_gzip and self.stored_dtype in _INFLATED and is_available()
        self._lock = ForkSafeLock()
        self._table: tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]] | None = None

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> NDArray[Any]:
        addresses, sizes, masks = self._chunk_table()
        address = int(addresses[index])
        if address == _UNWRITTEN:
            return np.full(extent, self._fill_value, dtype=self.dtype)
        stored = self._fetch(origin, int(sizes[index]), address)
        return self._decoded(stored, int(masks[index]), origin, extent)

    def read_each(self, first: int, stop: int) -> Iterator[NDArray[Any]]:
        """Read some chunks as :meth:`read` does. Those that lie side by side in the file are fetched together."""
        self._check_size()
        for extent in self._extents(first, stop):
            if len(extent.sizes) == 1:
                yield self.read(extent.first)
                continue
            stored, at = self.file.pread(extent.nbytes, extent.address), 0
            for i, (size, mask) in enumerate(zip(extent.sizes, extent.masks, strict=True), extent.first):
                yield self._native(self._decoded(stored[at : at + size], mask, *self._place((i,))))
                at += size

    def inflate(self, first: int, stop: int, bounds: tuple[int, int], out: NDArray[Any]) -> int:
        """Read chunks that are stored with gzip alone, as long as there is nothing to say of them."""
        if not self._inflates:
            return 0
        self._check_size()
        n, end = self.chunk_shape[0], self.file.stamp.size
        for extent in self._extents(first, stop):
            at, n_chunks = extent.first - first, len(extent.sizes)
            if extent.address == _UNWRITTEN or any(extent.masks) or extent.address + extent.nbytes > end:
                return at
            stored = self.file.pread(extent.nbytes, extent.address)
            place = out[at * n : (at + n_chunks) * n]
            done = inflate_each(stored, np.array(extent.sizes), self.dtype, n, bounds, place)
            if done < n_chunks:
                return at + done
        return stop - first

    def _extents(self, first: int, stop: int) -> Iterator[_Extent]:
        """Put chunks together that lie side by side in the file."""
        addresses, sizes, masks = (column[first:stop].tolist() for column in self._chunk_table())
        start = 0
        while start < len(sizes):
            end, nbytes = start + 1, sizes[start]
            most = min(_TOGETHER, self.file.stamp.size - addresses[start]) if addresses[start] != _UNWRITTEN else -1
            while end < len(sizes) and addresses[end] == addresses[start] + nbytes and nbytes + sizes[end] <= most:
                nbytes += sizes[end]
                end += 1
            yield _Extent(first + start, addresses[start], nbytes, sizes[start:end], masks[start:end])
            start = end

    def _decoded(
        self, stored: NDArray[np.uint8], mask: int, origin: tuple[int, ...], extent: tuple[int, ...]
    ) -> NDArray[Any]:
        """Decode the chunk that begins at `origin`, cut at the dataset's edge."""
        try:
            decoded = self.pipeline.decode(stored.data, mask, self.chunk_nbytes, self.stored_dtype.itemsize)
        except ValueError as error:
            raise self._damaged(origin, error) from error
        values = decoded.view(self.stored_dtype).reshape(self.chunk_shape)
        return values[tuple(slice(n) for n in extent)]

    def _chunk_table(self) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
        """Address, stored size and filter mask of each chunk, looked up once."""
        with self._lock:
            if self._table is None:
                self._table = self._read_table()
            return self._table

    def _read_table(self) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
        found: list[tuple[tuple[int, ...], int, int, int]] = []

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            found.append((chunk.chunk_offset, chunk.byte_offset, chunk.size, chunk.filter_mask))

        with self.file.open_library() as h5:
            h5[self.name].id.chunk_iter(note)
        addresses = np.full(self.grid, _UNWRITTEN, dtype=np.int64)
        sizes = np.zeros(self.grid, dtype=np.uint32)
        masks = np.zeros(self.grid, dtype=np.uint32)
        if found:
            index = self._grid_index([origin for origin, *_ in found])
            for (origin, address, size, mask), i in zip(found, zip(*index, strict=True), strict=True):
                if size > 2 * self.chunk_nbytes + _OVERHEAD:  # no filter makes so much of a chunk
                    raise self._damaged(origin, f"{size} bytes are stored for {self.chunk_nbytes}")
                addresses[i], sizes[i], masks[i] = address, size, mask
        return addresses, sizes, masks

    def _grid_index(self, origins: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], ...]:
        """Give the positions in the grid of chunks that start at `origins`, in the order in which the file lists them.

        The library searches its lists and would not find what does not stand in its place there.
        """
        starts = np.array(origins, dtype=np.int64)
        misplaced = (starts % self.chunk_shape != 0) | (starts >= self.shape)
        if misplaced.any():
            at = origins[int(np.argmax(misplaced.any(axis=1)))]
            raise self._damaged(at, f"chunks are of {self.chunk_shape} values, of {self.shape} in all")
        index = tuple((starts // self.chunk_shape).T)
        # by rows; an axis that may grow without limit may come before those to its left
        for axis in range(len(self.grid)):
            first = [axis, *(i for i in range(len(self.grid)) if i != axis)]
            places = np.ravel_multi_index([index[i] for i in first], [self.grid[i] for i in first])
            backwards = np.diff(places) <= 0
            if not backwards.any():
                return index
        at = origins[int(np.argmax(backwards)) + 1]
        raise self._damaged(at, "it is listed out of order")


class LibraryReader(ChunkReader):
    """A dataset that the HDF5 library reads: with other filters, or with an unusual layout or type."""

    def __init__(self, file: SourceFile, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._lock = ForkSafeLock()
        self._h5: h5py.File | None = None

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> NDArray[Any]:
        window = tuple(slice(at, at + n) for at, n in zip(origin, extent, strict=True))
        with self._lock:
            if self._h5 is None:
                self._h5 = self.file.open_library()
            dataset = self._h5[self.name]
            try:
                values = dataset[window]
                stored = self._stored_size(dataset, origin, values)
            except OSError as error:
                raise self._damaged(origin, error) from error
        self.file.counter.add(stored)
        return np.asarray(values, dtype=self.stored_dtype)

    def _stored_size(self, dataset: h5py.Dataset, origin: tuple[int, ...], values: NDArray[Any]) -> int:
        if dataset.chunks is None or dataset.is_virtual:
            return values.nbytes
        return int(dataset.id.get_chunk_info_by_coord(origin).size)

    def close(self) -> None:
        """Close the library's file."""
        with self._lock:
            if self._h5 is not None:
                self._h5.close()
                self._h5 = None


def open_chunks(file: SourceFile, dataset: h5py.Dataset) -> ChunkReader:
    """Choose how to read a dataset.

    Raises
    ------
    MissingFilterError
        If it is compressed with a filter that is not installed.
    """
    pipeline = FilterPipeline.of(dataset, f"{file.path.name}:{dataset.name}")
    return _reader_kind(dataset, pipeline)(file, dataset, pipeline)


def _reader_kind(dataset: h5py.Dataset, pipeline: FilterPipeline) -> type[ChunkReader]:
    # A type whose bytes do not mean what they mean to NumPy (integers of 24 bits, say) is decoded by the library.
    is_plain = dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype, logical=True)
    if not HAS_PREAD or not is_plain or dataset.is_virtual or dataset.external or dataset.file.userblock_size:
        return LibraryReader  # (not all versions of HDF5 add the user block to the addresses that they give)
    if dataset.chunks is not None:
        # HDF5 lists chunks by wrong places if an axis that is not the first is the only one to grow without limit.
        is_listed = dataset.maxshape[0] is None or None not in dataset.maxshape
        is_direct = (
            is_listed
            and pipeline.is_direct(dataset.dtype.itemsize)
            and math.prod(dataset.chunks) * dataset.dtype.itemsize < _MAX_DIRECT
        )
        return DirectReader if is_direct else LibraryReader
    if dataset.id.get_offset() is not None:
        return ContiguousReader
    return LibraryReader  # compact, or never written


def _piece_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Cut an array into runs of whole rows of about :data:`_PIECE` bytes."""
    row = max(1, math.prod(shape[1:]) * itemsize)
    return (max(1, _PIECE // row), *(max(1, n) for n in shape[1:]))
