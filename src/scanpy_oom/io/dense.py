"""Dense matrices in HDF5 files, delivered as what in them is not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cache import LRUCache
from .compress import Tile, append_rows, compress_rows
from .convert import ToValues
from .hdf5 import HDF5Source
from .runs import Pieces, Runs, row_runs
from .source import CSRBlock, kernel_dtype

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from .file import SourceFile

__all__ = ["DenseSource"]

_CACHE_NBYTES = 2**26


class DenseSource(HDF5Source):
    """A dense matrix in an HDF5 file.

    Each stored chunk is compressed to its non-zeros as soon as it is decoded, so that no block of whole rows is ever
    held in dense form.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    dataset
        The matrix, open with h5py; only its description is kept.
    """

    format = "dense"

    def __init__(self, file: SourceFile, dataset: h5py.Dataset) -> None:
        super().__init__(file, dataset.name)
        self._chunks = file.chunks(dataset)
        n_rows, n_cols = self._chunks.shape
        self.shape = (n_rows, n_cols)
        self.dtype = self._chunks.dtype
        self.byteorder = self._chunks.stored_dtype.byteorder
        self.nnz = n_rows * n_cols
        self.nbytes = self._chunks.nbytes
        self.compression = self._chunks.pipeline.compression
        self.row_alignment = self._chunks.chunk_shape[0]
        # Neighbouring reads share the chunks on their border.
        self._cache: LRUCache[Tile] = LRUCache(_CACHE_NBYTES)

    def row_offsets(self) -> NDArray[np.int64]:
        """Count the stored entries that precede each row: every entry of a dense matrix is stored."""
        offsets = np.arange(self.shape[0] + 1, dtype=np.int64) * self.shape[1]
        offsets.flags.writeable = False
        return offsets

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        runs = row_runs(rows, self.shape[0])
        with self.file.unchanged():
            bands = [(pieces, self._band(pieces)) for pieces in Pieces.split(runs, self._chunks.chunk_shape[0])]
        lengths = np.zeros(runs.size, dtype=np.int64)
        for pieces, tiles in bands:
            for tile in tiles:
                lengths[pieces.dest : pieces.dest + pieces.size] += np.diff(tile.indptr)
        indptr = np.append(0, np.cumsum(lengths))
        out = Tile(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], kernel_dtype(self.dtype)))
        cursor = indptr[:-1].copy()
        for pieces, tiles in bands:
            for tile in tiles:
                append_rows(tile, cursor[pieces.dest : pieces.dest + pieces.size], out)
        return CSRBlock(*out)

    def _band(self, pieces: Pieces) -> list[Tile]:
        """Read some rows that lie in one row of chunks, from left to right."""
        size = self._chunks.chunk_shape[0]
        columns = range(self._chunks.grid[1])
        if pieces.size == min(size, self.shape[0] - pieces.chunk * size):
            return [self._tile(pieces.chunk, j, keep=False) for j in columns]
        wanted = Runs(pieces.starts, pieces.stops)
        return [self._tile(pieces.chunk, j, keep=True).rows(wanted) for j in columns]

    def _tile(self, i: int, j: int, *, keep: bool) -> Tile:
        if keep:
            return self._cache.get_or_make((i, j), lambda: (tile := self._compressed(i, j), tile.nbytes))
        tile = self._cache.get((i, j))
        return self._compressed(i, j) if tile is None else tile

    def _compressed(self, i: int, j: int) -> Tile:
        origin = (index * size for index, size in zip((i, j), self._chunks.chunk_shape, strict=True))
        location = f"{self.path}: {self.name}"
        values = ToValues(kernel_dtype(self.dtype), location)(self._chunks.read(i, j), *origin)
        block = np.require(values, requirements=["C", "W"])
        return compress_rows(block, j * self._chunks.chunk_shape[1])

    def close(self) -> None:
        """Release the file. Reading from a closed source raises ValueError."""
        self._cache.clear()
        self._chunks.close()
        super().close()
