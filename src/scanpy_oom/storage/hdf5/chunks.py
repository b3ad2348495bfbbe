"""Chunks of one HDF5 dataset: where they lie in the file, and their decoded values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from ...memory.fork_lock import fork_safe_lock
from ..abc import ByteRanges, ChunkedArray
from ..codecs.libdeflate import is_available
from ..codecs.pipeline import FilterPipeline
from ..damage import is_damage
from .file import HAS_PREAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..abc import Values
    from .container import HDF5Container

__all__ = ["HDF5Array", "open_chunks"]

_PIECE = 2**19  # bytes per read where the dataset itself is not chunked
_MAX_DIRECT = 2**30  # bytes of a chunk up to which all decoders here work
_UNWRITTEN = -1
_OVERHEAD = 2**12  # bytes that filters may add to a chunk
_TOGETHER = 2**20  # bytes up to which chunks are fetched at a time
_INFLATED = {np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)} | {np.dtype("f4"), np.dtype("f8")}


class _Table(NamedTuple):
    """Address, stored size and filter mask of each chunk."""

    addresses: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    masks: NDArray[np.uint32]


class _Extent(NamedTuple):
    """Chunks that lie side by side in a file: number of the first, address, bytes in all, and size and mask of each."""

    first: int
    address: int
    nbytes: int
    sizes: list[int]
    masks: list[int]


class HDF5Array(ChunkedArray):
    """A dataset of any rank.

    Parameters
    ----------
    file
        The file that holds the dataset.
    dataset
        The dataset, open with h5py; only its description is kept.
    pipeline
        Its filters.
    """

    def __init__(self, file: HDF5Container, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        stored_dtype = np.dtype(dataset.dtype.str)
        chunk_shape = dataset.chunks or _piece_shape(dataset.shape, stored_dtype.itemsize)
        super().__init__(file, dataset.name, dataset.shape, stored_dtype, chunk_shape, pipeline.compression)
        self.file = file
        self.pipeline = pipeline
        self._nbytes: int = dataset.id.get_storage_size()
        self._is_cut = dataset.chunks is not None
        self._lock = fork_safe_lock()
        self._table: _Table | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are stored."""
        return self._nbytes

    def byte_ranges(self) -> ByteRanges | None:
        """Look up where each chunk lies in the file; None of a dataset that is not cut into chunks."""
        if not self._is_cut:
            return None
        table = self._chunk_table()
        return ByteRanges(table.addresses, table.sizes)

    def _fetch(self, origin: tuple[int, ...], n: int, offset: int) -> NDArray[np.uint8]:
        """Read the `n` bytes at `offset` of the file, where the chunk at `origin` is stored."""
        if offset + n > self.file.size:
            reason = f"its {n} bytes should start at byte {offset}, but the file ends at byte {self.file.size}"
            raise self._damaged(origin, reason)
        return self.file.pread(n, offset)

    def _chunk_table(self) -> _Table:
        """Address, stored size and filter mask of each chunk, looked up once."""
        with self._lock:
            if self._table is None:
                self._table = self._read_table()
            return self._table

    def _read_table(self) -> _Table:
        found: list[tuple[tuple[int, ...], int, int, int]] = []

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            found.append((chunk.chunk_offset, chunk.byte_offset, chunk.size, chunk.filter_mask))

        with self.file.library(self.name) as h5:
            h5[self.name].id.chunk_iter(note)
        addresses = np.full(self.grid, _UNWRITTEN, dtype=np.int64)
        sizes = np.zeros(self.grid, dtype=np.uint32)
        masks = np.zeros(self.grid, dtype=np.uint32)
        if found:
            index = self._grid_index([origin for origin, *_ in found])
            for (origin, address, size, mask), i in zip(found, zip(*index, strict=True), strict=True):
                if size > 2 * self.chunk_nbytes + _OVERHEAD:  # no filter makes so much of a chunk
                    raise self._damaged(origin, f"it has {size} bytes in the file, but {self.chunk_nbytes} in memory")
                addresses[i], sizes[i], masks[i] = address, size, mask
        return _Table(addresses, sizes, masks)

    def _grid_index(self, origins: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], ...]:
        """Give the positions in the grid of chunks that start at `origins`, in the order in which the file lists them.

        The library searches its lists and would not find what does not stand in its place there.
        """
        starts = np.array(origins, dtype=np.int64)
        misplaced = (starts % self.chunk_shape != 0) | (starts >= self.shape)
        if misplaced.any():
            at = origins[int(np.argmax(misplaced.any(axis=1)))]
            raise self._damaged(at, f"no chunk of {self.chunk_shape} starts there in an array of {self.shape}")
        index = tuple((starts // self.chunk_shape).T)
        # by rows; an axis that may grow without limit may come before those to its left
        for axis in range(len(self.grid)):
            first = [axis, *(i for i in range(len(self.grid)) if i != axis)]
            places = np.ravel_multi_index([index[i] for i in first], [self.grid[i] for i in first])
            backwards = np.diff(places) <= 0
            if not backwards.any():
                return index
        at = origins[int(np.argmax(backwards)) + 1]
        raise self._damaged(at, "the index of chunks lists it in the wrong place")


class ContiguousReader(HDF5Array):
    """A dataset whose bytes lie in one piece, which is cut into chunks of whole rows."""

    def __init__(self, file: HDF5Container, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._offset: int = dataset.id.get_offset()

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> Values:
        row_nbytes = math.prod(self.shape[1:]) * self.stored_dtype.itemsize
        stored = self._fetch(origin, extent[0] * row_nbytes, self._offset + origin[0] * row_nbytes)
        return stored.view(self.stored_dtype).reshape(extent)


class DirectReader(HDF5Array):
    """A chunked dataset whose filters are undone here, past the HDF5 library and its lock."""

    def __init__(self, file: HDF5Container, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._fill_value = dataset.fillvalue
        self._inflates = pipeline.is_gzip and self.stored_dtype in _INFLATED and is_available()

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> Values:
        addresses, sizes, masks = self._chunk_table()
        address = int(addresses[index])
        if address == _UNWRITTEN:
            return np.full(extent, self._fill_value, dtype=self.dtype)
        stored = self._fetch(origin, int(sizes[index]), address)
        return self._decoded(stored, int(masks[index]), origin, extent)

    def read_each(self, first: int, stop: int) -> Iterator[Values]:
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

    def inflate(self, first: int, stop: int, bounds: tuple[int, int], out: Values) -> int:
        """Read chunks that are stored with gzip alone, as long as there is nothing to say of them."""
        if not self._inflates:
            return 0
        from ..codecs.gzip_alone import inflate_each  # with the compiler, which opening a file does without

        self._check_size()
        n, end = self.chunk_shape[0], self.file.size
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
            most = min(_TOGETHER, self.file.size - addresses[start]) if addresses[start] != _UNWRITTEN else -1
            while end < len(sizes) and addresses[end] == addresses[start] + nbytes and nbytes + sizes[end] <= most:
                nbytes += sizes[end]
                end += 1
            yield _Extent(first + start, addresses[start], nbytes, sizes[start:end], masks[start:end])
            start = end

    def _decoded(
        self, stored: NDArray[np.uint8], mask: int, origin: tuple[int, ...], extent: tuple[int, ...]
    ) -> Values:
        """Decode the chunk that begins at `origin`, cut at the dataset's edge."""
        try:
            decoded = self.pipeline.decode(stored.data, mask, self.chunk_nbytes, self.stored_dtype.itemsize)
        except ValueError as error:
            raise self._damaged(origin, error) from error
        values = decoded.view(self.stored_dtype).reshape(self.chunk_shape)
        return values[tuple(slice(n) for n in extent)]


class LibraryReader(HDF5Array):
    """A dataset that the HDF5 library reads: with other filters, or with an unusual layout or type."""

    def __init__(self, file: HDF5Container, dataset: h5py.Dataset, pipeline: FilterPipeline) -> None:
        super().__init__(file, dataset, pipeline)
        self._h5: h5py.File | None = None

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> Values:
        window = tuple(slice(at, at + n) for at, n in zip(origin, extent, strict=True))
        with self._lock:
            try:
                if self._h5 is None:
                    self._h5 = self.file.open_library()
                dataset = self._h5[self.name]
                values = dataset[window]
                stored = self._stored_size(dataset, origin, values)
            except Exception as error:
                if is_damage(error):
                    raise self._damaged(origin, error) from error
                raise
        self.file.counter.add(stored)
        return np.asarray(values, dtype=self.stored_dtype)

    def _stored_size(self, dataset: h5py.Dataset, origin: tuple[int, ...], values: Values) -> int:
        if dataset.chunks is None or dataset.is_virtual:
            return values.nbytes
        return int(dataset.id.get_chunk_info_by_coord(origin).size)

    def close(self) -> None:
        """Close the library's file."""
        with self._lock:
            if self._h5 is not None:
                self._h5.close()
                self._h5 = None


def open_chunks(file: HDF5Container, dataset: h5py.Dataset) -> HDF5Array:
    """Choose how to read a dataset.

    Raises
    ------
    MissingFilterError
        If it is compressed with a filter that is not installed.
    """
    pipeline = FilterPipeline.of(dataset, f"{file.path.name}:{dataset.name}")
    return _reader_kind(dataset, pipeline)(file, dataset, pipeline)


def _reader_kind(dataset: h5py.Dataset, pipeline: FilterPipeline) -> type[HDF5Array]:
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
