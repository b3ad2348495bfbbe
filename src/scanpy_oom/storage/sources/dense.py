"""Dense matrices in a container, delivered as what in them is not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..abc import ReadCost
from ..arrays.blocks import CSRBlock, kernel_dtype
from ..arrays.ranges import Pieces, Runs, row_runs
from ..arrays.validation import ToValues
from ..lru import LRUCache
from .stored import StoredSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Container
    from ..nodes import ArrayNode
    from .dense_to_csr import Tile

__all__ = ["DenseSource"]

_CACHE_NBYTES = 2**26


class DenseSource(StoredSource):
    """A dense matrix in a container.

    Each stored chunk is compressed to its non-zeros as soon as it is decoded, so that no block of whole rows is ever
    held in dense form.

    Parameters
    ----------
    container
        What holds it, which from here on belongs to the source.
    array
        The matrix; only its description is kept.
    """

    format = "dense"

    def __init__(self, container: Container, array: ArrayNode) -> None:
        super().__init__(container, array.name)
        self._chunks = container.open_array(array)
        n_rows, n_cols = self._chunks.shape
        self.shape = (n_rows, n_cols)
        self.dtype = self._chunks.dtype
        self.byteorder = self._chunks.stored_dtype.byteorder
        self.nnz = n_rows * n_cols
        self.nbytes = self._chunks.nbytes
        self.compression = self._chunks.compression
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
        from .dense_to_csr import Tile, append_rows  # with the compiler, which opening a file does without

        runs = row_runs(rows, self.shape[0])
        with self.container.unchanged():
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
        from .dense_to_csr import compress_rows

        origin = (index * size for index, size in zip((i, j), self._chunks.chunk_shape, strict=True))
        location = f"{self.path}: {self.name}"
        values = ToValues(kernel_dtype(self.dtype), location)(self._chunks.read(i, j), *origin)
        block = np.require(values, requirements=["C", "W"])
        return compress_rows(block, j * self._chunks.chunk_shape[1])

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows: the chunks in which they are."""
        cost = super().estimate_read(rows, n_blocks, n_threads)
        is_once = rows is None and min(n_blocks, n_threads) == 1 and not self.bytes_read
        return ReadCost(cost.nbytes, certain=is_once)

    def close(self) -> None:
        """Release the container. Reading from a closed source raises ValueError."""
        self._cache.clear()
        self._chunks.close()
        super().close()
