"""Writing a matrix to an h5ad, one run of rows after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import anndata
import numpy as np

from ..settings import settings
from .dataset import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    from numpy.typing import NDArray

__all__ = ["CHUNK", "ArrayWriter", "CompressedRows", "CompressedWriter", "index_dtype"]

CHUNK = 100_000
"""Entries of a chunk: large enough to compress well, small enough to be read apart."""


class _Writer:
    """Threads that compress what is written, and go when it is."""

    def __init__(self) -> None:
        self._n_threads = settings.n_threads
        self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="scanpy-oom")

    def _appender(self, dataset: h5py.Dataset) -> DatasetWriter:
        return DatasetWriter(dataset, self._pool, 2 * self._n_threads)

    def discard(self) -> None:
        """Stop, and leave what is written as it is."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class CompressedRows:
    """The arrays of values and indices of a compressed matrix, which rows are appended to, and where these start.

    Parameters
    ----------
    data, indices
        What appends to the arrays.
    n_rows
        How many rows there will be.
    indptr_dtype
        Type of where they start; the narrowest of int32 and int64 if there is none.
    """

    def __init__(self, data: Any, indices: Any, n_rows: int, indptr_dtype: Any) -> None:
        self._data, self._indices, self._indptr_dtype = data, indices, indptr_dtype
        self._lengths = np.zeros(n_rows, dtype=np.int64)
        self._n_rows = 0

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[Any]) -> None:
        """Write the next rows."""
        n_rows = indptr.size - 1
        self._data.append(values)
        self._indices.append(indices)
        self._lengths[self._n_rows : self._n_rows + n_rows] = np.diff(indptr)
        self._n_rows += n_rows

    def close(self) -> NDArray[np.integer]:
        """Write what waits; return where the rows start."""
        self._data.close()
        self._indices.close()
        return _start_offsets(self._lengths, self._indptr_dtype)


class CompressedWriter(_Writer):
    """Writes a CSR or CSC matrix in anndata's layout, some rows or columns after the other.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What h5py is given for each dataset (`compression`, ...).
    kind
        `"csr"`, or `"csc"`: then columns stand where rows do below.
    """

    def __init__(
        self,
        parent: h5py.Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        dataset_kwargs: Mapping[str, Any],
        kind: Literal["csr", "csc"] = "csr",
    ) -> None:
        super().__init__()
        n_rows, n_columns = shape if kind == "csr" else shape[::-1]
        options = {"chunks": (max(min(CHUNK, shape[0] * shape[1]), 1),), **dataset_kwargs}
        indptr_dtype = options.pop("indptr_dtype", None)
        self._options = options
        self._group = parent.require_group(name)
        self._group.attrs.update({"shape": shape, "encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0"})
        data, indices = (
            self._appender(self._group.create_dataset(key, (0,), of, maxshape=(None,), **options))
            for key, of in (("data", dtype), ("indices", index_dtype(n_columns)))
        )
        self._rows = CompressedRows(data, indices, n_rows, indptr_dtype)

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[Any]) -> None:
        """Write the next rows."""
        self._rows.append(indptr, indices, values)

    def close(self) -> None:
        """Write what waits, and where the rows start."""
        indptr = self._rows.close()
        options = {**self._options, "chunks": (min(CHUNK, indptr.size),)}
        self._group.create_dataset("indptr", data=indptr, maxshape=(None,), **options)
        self._pool.shutdown()


class ArrayWriter(_Writer):
    """Writes a dense matrix in anndata's layout.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What h5py is given for the dataset (`compression`, ...).
    """

    def __init__(
        self,
        parent: h5py.Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        dataset_kwargs: Mapping[str, Any],
    ) -> None:
        super().__init__()
        options = dict(dataset_kwargs)
        if options.get("compression") is not None and all(shape):
            options.setdefault("chunks", (min(max(CHUNK // shape[1], 1), shape[0]), shape[1]))
        dataset = parent.create_dataset(name, shape, dtype, **options)
        # anndata names the encoding after the type that it was given, unless it is named already
        dataset.attrs["encoding-type"] = "array"
        dataset.attrs["encoding-version"] = "0.2.0"
        self._rows = self._appender(dataset)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows."""
        self._rows.append(rows)

    def close(self) -> None:
        """Write what waits."""
        self._rows.close()
        self._pool.shutdown()


def _start_offsets(lengths: NDArray[np.int64], dtype: Any = None) -> NDArray[np.integer]:
    """Return where each row starts, and the end, from their lengths: in `dtype`, or as int32 if they fit."""
    indptr = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    narrow = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    return indptr.astype(narrow if dtype is None else dtype)


def index_dtype(n_columns: int) -> np.dtype[Any]:
    """Return the type of column numbers: int32, or the narrowest if anndata is set so."""
    if getattr(anndata.settings, "write_csr_csc_indices_with_min_possible_dtype", False):
        return np.min_scalar_type(max(n_columns, 1))
    return np.dtype(np.int32)
