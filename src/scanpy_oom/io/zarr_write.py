"""Writing a matrix to a Zarr store, one run of rows after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .write import CHUNK, CompressedRows, index_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    import zarr
    from numpy.typing import NDArray

__all__ = ["ZarrArrayWriter", "ZarrCompressedWriter"]

CHUNKS_AT_A_TIME = 8
"""Chunks that are handed to zarr together, which compresses them at once."""


class _Appender:
    """Appends to an array along its first axis, whole chunks (or shards) at a time."""

    def __init__(self, array: zarr.Array) -> None:
        self._array = array
        self._step = CHUNKS_AT_A_TIME * (array.shards or array.chunks)[0]
        self._waiting: list[NDArray[Any]] = []
        self._n_waiting = self._written = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Append `rows`. They are not to change afterwards."""
        self._waiting.append(rows)
        self._n_waiting += rows.shape[0]
        if self._n_waiting >= self._step:
            self._flush(self._n_waiting - self._n_waiting % self._step)

    def close(self) -> None:
        """Write what waits."""
        if self._n_waiting:
            self._flush(self._n_waiting)

    def _flush(self, n_rows: int) -> None:
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [rows[n_rows:]], self._n_waiting - n_rows
        stop = self._written + n_rows
        if self._array.shape[0] < stop:
            self._array.resize((stop, *self._array.shape[1:]))
        self._array[self._written : stop] = rows[:n_rows].astype(self._array.dtype, copy=False)
        self._written = stop


class ZarrCompressedWriter:
    """Writes a CSR or CSC matrix in anndata's layout, some rows or columns after the other.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What zarr is given for each array (`compressors`, `chunks`, ...).
    kind
        `"csr"`, or `"csc"`: then columns stand where rows do below.
    """

    def __init__(
        self,
        parent: zarr.Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        dataset_kwargs: Mapping[str, Any],
        kind: Literal["csr", "csc"] = "csr",
    ) -> None:
        n_rows, n_columns = shape if kind == "csr" else shape[::-1]
        options = _options(dataset_kwargs)
        indptr_dtype = options.pop("indptr_dtype", None)
        self._options = options
        self._group = parent.require_group(name)
        self._group.attrs.update({"shape": list(shape), "encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0"})
        options = {"chunks": (max(min(CHUNK, shape[0] * shape[1]), 1),), **options}
        data, indices = (
            _Appender(self._group.create_array(key, shape=(0,), dtype=of, **options))
            for key, of in (("data", dtype), ("indices", index_dtype(n_columns)))
        )
        self._rows = CompressedRows(data, indices, n_rows, indptr_dtype)

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[Any]) -> None:
        """Write the next rows."""
        self._rows.append(indptr, indices, values)

    def close(self) -> None:
        """Write what waits, and where the rows start."""
        indptr = self._rows.close()
        array = self._group.create_array("indptr", shape=indptr.shape, dtype=indptr.dtype, **self._options)
        array[...] = indptr

    def discard(self) -> None:
        """Do nothing: there are no threads of its own to stop."""


class ZarrArrayWriter:
    """Writes a dense matrix in anndata's layout.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What zarr is given for the array (`compressors`, `chunks`, ...).
    """

    def __init__(
        self,
        parent: zarr.Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        dataset_kwargs: Mapping[str, Any],
    ) -> None:
        options = _options(dataset_kwargs)
        if all(shape):
            options.setdefault("chunks", (min(max(CHUNK // shape[1], 1), shape[0]), shape[1]))
        array = parent.create_array(name, shape=shape, dtype=dtype, **options)
        array.attrs["encoding-type"] = "array"
        array.attrs["encoding-version"] = "0.2.0"
        self._rows = _Appender(array)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows."""
        self._rows.append(rows)

    def close(self) -> None:
        """Write what waits."""
        self._rows.close()

    def discard(self) -> None:
        """Do nothing: there are no threads of its own to stop."""


def _options(dataset_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Give options the names that they have in zarr 3, as anndata does."""
    options = dict(dataset_kwargs)
    if "compressor" in options:
        options["compressors"] = options.pop("compressor")
    return options
