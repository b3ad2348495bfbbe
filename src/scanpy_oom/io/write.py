"""Writing a matrix to an h5ad, one run of rows after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    from numpy.typing import NDArray

__all__ = ["ArrayWriter", "CSRWriter"]

CHUNK = 100_000
"""Entries of a chunk: large enough to compress well, small enough to be read apart."""


class CSRWriter:
    """Writes a CSR matrix in anndata's layout.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What h5py is given for each dataset (`compression`, ...).
    """

    def __init__(
        self,
        parent: h5py.Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype,
        dataset_kwargs: Mapping[str, Any],
    ) -> None:
        options = {"chunks": (CHUNK,), **dataset_kwargs}
        self._indptr_dtype = options.pop("indptr_dtype", None)
        self._options = options
        self._group = parent.require_group(name)
        self._group.attrs["shape"] = shape
        index_dtype = np.int32 if shape[1] <= np.iinfo(np.int32).max else np.int64
        self._data = self._group.create_dataset("data", (0,), dtype, maxshape=(None,), **options)
        self._indices = self._group.create_dataset("indices", (0,), index_dtype, maxshape=(None,), **options)
        self._lengths = np.zeros(shape[0], dtype=np.int64)
        self._n_rows = 0

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray) -> None:
        """Write the next rows."""
        start, n_rows = self._data.shape[0], indptr.size - 1
        for dataset, new in ((self._data, values), (self._indices, indices)):
            dataset.resize((start + new.size,))
            dataset[start:] = new.astype(dataset.dtype, copy=False)
        self._lengths[self._n_rows : self._n_rows + n_rows] = np.diff(indptr)
        self._n_rows += n_rows

    def close(self) -> None:
        """Write where the rows start."""
        indptr = np.zeros(self._lengths.size + 1, dtype=np.int64)
        np.cumsum(self._lengths, out=indptr[1:])
        narrow = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
        options = {**self._options, "chunks": (min(CHUNK, indptr.size),)}
        dtype = narrow if self._indptr_dtype is None else self._indptr_dtype
        self._group.create_dataset("indptr", data=indptr.astype(dtype), maxshape=(None,), **options)


class ArrayWriter:
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
        dtype: np.dtype,
        dataset_kwargs: Mapping[str, Any],
    ) -> None:
        self._dataset = parent.create_dataset(name, shape, dtype, **dataset_kwargs)
        # anndata names the encoding after the type that it was given, unless it is named already
        self._dataset.attrs["encoding-type"] = "array"
        self._dataset.attrs["encoding-version"] = "0.2.0"
        self._n_rows = 0

    def append(self, rows: NDArray) -> None:
        """Write the next rows."""
        self._dataset[self._n_rows : self._n_rows + rows.shape[0]] = rows.astype(self._dataset.dtype, copy=False)
        self._n_rows += rows.shape[0]
