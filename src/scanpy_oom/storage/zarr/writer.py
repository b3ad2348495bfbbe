"""Writing a matrix to a Zarr store, one run of rows after the other."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

from ...errors import OOMError
from ..appender import Appender, Encoder
from ..matrix_writer import CompressedMatrixWriter, DenseMatrixWriter, MatrixWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["ZarrArrayWriter", "ZarrCompressedWriter"]

CHUNKS_AT_A_TIME = 8
"""Chunks that are handed to zarr together, which compresses them at once."""


@dataclass(frozen=True, slots=True)
class ZarrEncoder(Encoder[None]):
    """Writes parts of an array to a store in a folder: its chunks are files, which any process can write.

    Parameters
    ----------
    store
        The folder.
    path
        Place of the array in the store.
    """

    store: str
    path: str

    def encode(self, start: int, rows: Values) -> None:
        """Write the rows, and leave nothing to be written.

        Raises
        ------
        OOMError
            If this process does not see the store.
        """
        if not Path(self.store, self.path).is_dir():
            msg = (
                f"The worker on {socket.gethostname()} cannot find the Zarr store {self.store}, although it has to "
                "write a part of it. Write to a folder that all workers see under the same path, as on a shared file "
                "system; or write from one process: set `scanpy_oom.settings.engine = 'threads'`."
            )
            raise OOMError(msg)
        zarr.open_array(self.store, path=self.path, mode="r+")[start : start + rows.shape[0]] = rows
        _remove_unless_node(Path(self.store), Path(self.store, self.path))


def _remove_unless_node(store: Path, array: Path) -> None:
    """Remove an array that was taken away meanwhile, as chunks make its folders anew; and parents that are empty."""
    if any((array / name).exists() for name in ("zarr.json", ".zarray")):
        return
    shutil.rmtree(array, ignore_errors=True)
    with suppress(OSError):  # others are in it
        for folder in array.parents:
            folder.rmdir()
            if folder == store:
                break


class ZarrAppender(Appender):
    """Appends to an array of a store, some chunks at a time.

    Parameters
    ----------
    array
        The array.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._unit = (array.shards or array.chunks)[0]
        super().__init__(array, CHUNKS_AT_A_TIME * self._unit)
        self._place = array.store_path

    @property
    def step(self) -> int:
        """Rows of a chunk, or of a shard where there are such."""
        return self._unit

    def _encoder(self) -> Encoder[Any]:
        if not isinstance(self._place.store, zarr.storage.LocalStore):
            return super()._encoder()
        return ZarrEncoder(str(Path(self._place.store.root).absolute()), self._place.path)

    def put(self, start: int, encoded: Any) -> None:
        """Write a part, if it is not yet written."""
        if encoded is not None:
            super().put(start, encoded)


class _Writer(MatrixWriter["zarr.Group"]):
    """Makes arrays."""

    def _create_group(self, parent: zarr.Group, name: str, attributes: Mapping[str, Any]) -> zarr.Group:
        group = parent.require_group(name)
        group.attrs.update(attributes)
        return group

    def _create_array(
        self,
        parent: zarr.Group,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        options: Mapping[str, Any],
        attributes: Mapping[str, Any],
    ) -> ZarrAppender:
        array = parent.create_array(name, shape=shape, dtype=dtype, **options)
        array.attrs.update(attributes)
        return ZarrAppender(array)

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give options the names that they have in zarr 3, as anndata does."""
        options = dict(given)
        if "compressor" in options:
            options["compressors"] = options.pop("compressor")
        return options


class ZarrCompressedWriter(_Writer, CompressedMatrixWriter["zarr.Group"]):
    """Writes a CSR or CSC matrix in anndata's layout, some rows or columns after the other."""

    def _write_offsets(self, indptr: NDArray[np.integer]) -> None:
        array = self._group.create_array("indptr", shape=indptr.shape, dtype=indptr.dtype, **self._given)
        array[...] = indptr


class ZarrArrayWriter(_Writer, DenseMatrixWriter["zarr.Group"]):
    """Writes a dense matrix in anndata's layout."""
