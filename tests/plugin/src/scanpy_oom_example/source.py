"""A storage format: a folder with the three arrays of a CSR matrix as .npy files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scanpy_oom.storage.sources.base import CSRBlock, Source, kernel_dtype

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class FolderSource(Source):
    """Maps the arrays into memory, and reads those pages that are asked for."""

    format = "csr"
    compression = "none"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = f"{path.name}:/"
        self._data, self._indices, self._indptr = (
            np.load(path / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")
        )
        self.shape = tuple(np.load(path / "shape.npy").tolist())
        self.dtype = self._data.dtype
        self.nnz = self._data.size
        self.nbytes = self._data.nbytes + self._indices.nbytes + self._indptr.nbytes
        self._bytes_read = 0

    @property
    def bytes_read(self) -> int:
        return self._bytes_read

    def row_offsets(self) -> NDArray[np.integer[Any]]:
        return self._indptr

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        rows = np.arange(self.shape[0])[rows]
        lengths = np.diff(self._indptr)[rows].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.repeat(self._indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        self._bytes_read += entries.size * (self._data.itemsize + self._indices.itemsize)
        data = self._data[entries].astype(kernel_dtype(self.dtype))
        return CSRBlock(indptr, self._indices[entries].astype(np.int32), data)

    def close(self) -> None:
        del self._data, self._indices
