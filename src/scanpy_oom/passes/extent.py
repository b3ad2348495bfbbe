"""How many bytes of a file hold the rows that a pass reads, by what the file says of its chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..io.array import _CACHE_NBYTES
from ..io.csc import CSCSource
from ..io.hdf5 import CSRSource
from .feed import SourceFeed
from .joined import JoinedSource
from .staging import choose_feed

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    from ..io.source import Source

__all__ = ["Extent", "column_extent", "row_extent"]


_PIECE = 2**19
"""Elements that are read at a time, at most, of an array that is not cut into chunks."""


class Extent(NamedTuple):
    """Bytes, and whether that is all there is to say.

    Parameters
    ----------
    nbytes
        Bytes of the file, each chunk counted once.
    certain
        Whether it is known that each chunk is fetched, and fetched once.
    """

    nbytes: int
    certain: bool


def row_extent(source: Source, rows: NDArray[np.intp] | None, n_blocks: int, n_threads: int) -> Extent:
    """Return what a pass fetches for rows that it reads whole.

    Parameters
    ----------
    source
        What is read.
    rows
        Row numbers, not decreasing; None for all.
    n_blocks, n_threads
        In how many blocks they are read, and by how many threads.
    """
    n_rows = source.shape[0]
    if source.path is None:
        return Extent(0, certain=True)
    if isinstance(source, JoinedSource):
        return _joined(source, rows, n_blocks, n_threads)
    if isinstance(source, CSRSource):
        once = n_threads <= (source.n_readers if rows is None else 1)
        return _compressed(source, source.row_offsets(), rows, 1 if once else n_blocks)
    if isinstance(source, CSCSource):
        return Extent(0 if source.has_rows else source.nbytes + _indices_nbytes(source), certain=source.has_rows)
    if rows is None:
        return Extent(source.nbytes, certain=min(n_blocks, n_threads) == 1 and not source.bytes_read)
    bands = -(-n_rows // source.row_alignment)
    touched = np.unique(rows // source.row_alignment).size
    return Extent(source.nbytes * touched // max(bands, 1), certain=False)


def _joined(source: JoinedSource, rows: NDArray[np.intp] | None, n_blocks: int, n_threads: int) -> Extent:
    nbytes, certain = 0, True
    for k, own in source.split(rows):
        matrix = source.parts[k].matrix
        if isinstance(choose_feed([matrix]), SourceFeed):
            extent = row_extent(matrix.source, source.parts[k].source_rows(own), n_blocks, n_threads)
            nbytes, certain = nbytes + extent.nbytes, certain and extent.certain
    return Extent(nbytes, certain)


def column_extent(source: CSCSource, columns: NDArray[np.intp] | None) -> Extent:
    """Return what a pass fetches that reads columns."""
    chosen = None if columns is None else np.unique(columns)
    return Extent(_compressed(source, source.column_offsets(), chosen, 1).nbytes, certain=False)


def _compressed(
    source: CSRSource | CSCSource, offsets: NDArray[np.integer], major: NDArray[np.intp] | None, n_blocks: int
) -> Extent:
    """Return what is fetched; `n_blocks` are those between whose reads the chunk on a border must be kept."""
    if major is None:
        starts, stops = offsets[:1], offsets[-1:]
    else:
        starts, stops = offsets[major], offsets[major + 1]
    filled = stops > starts
    nbytes, certain = 0, True
    with source.file.open_library() as h5:
        group = h5[source.name]
        for name in ("indices", "data"):
            dataset = group[name]
            extent = _elements(dataset, starts[filled].astype(np.int64), stops[filled].astype(np.int64))
            kept = n_blocks == 1 or 8 * n_blocks * (dataset.chunks or (_PIECE,))[0] <= _CACHE_NBYTES
            nbytes, certain = nbytes + extent.nbytes, certain and extent.certain and kept
        # of what has been read before, the chunks at the ends of blocks may still be at hand
        fresh = source.bytes_read <= group["indptr"].id.get_storage_size()
    return Extent(nbytes, certain and fresh)


def _elements(dataset: h5py.Dataset, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Extent:
    """Return what holds the elements from each start to its stop."""
    if not starts.size:
        return Extent(0, certain=True)
    n = dataset.shape[0]
    if dataset.chunks is None:
        share = int((stops - starts).sum())
        return Extent(dataset.id.get_storage_size() * share // n, certain=share == n)
    (length,) = dataset.chunks
    sizes = np.zeros(-(-n // length), dtype=np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        sizes[chunk.chunk_offset[0] // length] = chunk.size

    dataset.id.chunk_iter(note)
    change = np.zeros(sizes.size + 1, dtype=np.int64)
    np.add.at(change, starts // length, 1)
    np.add.at(change, (stops - 1) // length + 1, -1)
    return Extent(int(sizes[np.cumsum(change[:-1]) > 0].sum()), certain=True)


def _indices_nbytes(source: CSCSource) -> int:
    """Return the bytes of the indices, which are read once more for the entries of rows to be counted."""
    with source.file.open_library() as h5:
        nbytes: int = h5[source.name]["indices"].id.get_storage_size()
    return nbytes
