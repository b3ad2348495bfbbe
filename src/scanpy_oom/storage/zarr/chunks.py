"""Chunks of one array of a Zarr store, decoded by zarr's codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..abc import ChunkedArray, ReadCost
from ..damage import is_damage, say_many_files

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from zarr.types import AnyArray

    from ..abc import Values
    from .store import ZarrStore

__all__ = ["ZarrArray"]


class ZarrArray(ChunkedArray):
    """An array of a store.

    Parameters
    ----------
    store
        The store that holds it.
    array
        The array, open with zarr; only its description is kept.
    """

    def __init__(self, store: ZarrStore, array: AnyArray) -> None:
        names = [type(codec).__name__.removesuffix("Codec").lower() for codec in array.compressors]
        chunk_shape = tuple(max(1, n) for n in array.chunks)
        compression = "+".join(names) or "none"
        super().__init__(store, f"/{array.path}", array.shape, np.dtype(array.dtype), chunk_shape, compression)
        self._store = store
        self._nbytes: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are stored; looked up when they are asked for."""
        if self._nbytes is None:
            self._nbytes = int(self._array().nbytes_stored())
        return self._nbytes

    def estimate_read(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> ReadCost:
        """Estimate what is fetched: the share of the bytes, since each chunk is a file of its own."""
        return ReadCost(super().estimate_read(starts, stops).nbytes, certain=False)

    def _array(self) -> AnyArray:
        found: AnyArray = self._store.node(self.name)
        return found

    def _read(self, index: tuple[int, ...], origin: tuple[int, ...], extent: tuple[int, ...]) -> Values:
        window = tuple(slice(at, at + n) for at, n in zip(origin, extent, strict=True))
        try:
            values = np.asarray(self._array()[window])
            if values.ndim == 1 and values.size and not values.any() and not self._is_stored(index):
                self.unstored.add(index[0])
        except Exception as error:
            say_many_files(error, self._store.path)
            if self._store.is_closed or not is_damage(error):
                raise
            raise self._damaged(origin, error) from error
        return values

    def _is_stored(self, index: tuple[int, ...]) -> bool:
        """Return whether there is a file for a chunk; where there is none, Zarr gives zeros."""
        array = self._array()
        if array.shards is not None:
            index = tuple(i * n // shard for i, n, shard in zip(index, array.chunks, array.shards, strict=True))
        return self._store.holds(f"{array.path}/{array.metadata.encode_chunk_key(index)}")
