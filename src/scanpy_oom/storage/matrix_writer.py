"""Writing matrices in anndata's layout, some rows after the other, whatever the format of the file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import anndata
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from .abc import Values
    from .appender import Appends, Encoder

__all__ = ["CHUNK", "CompressedMatrixWriter", "CompressedRows", "DenseMatrixWriter", "MatrixWriter", "index_dtype"]

Group = TypeVar("Group")

CHUNK = 100_000
"""Entries of a chunk: large enough to compress well, small enough to be read apart."""


class MatrixWriter(ABC, Generic[Group]):
    """Makes the arrays of a matrix, in one format of files."""

    @abstractmethod
    def _create_group(self, parent: Group, name: str, attributes: Mapping[str, object]) -> Group:
        """Make a group with attributes, if there is none."""

    @abstractmethod
    def _create_array(
        self,
        parent: Group,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        options: Mapping[str, Any],
        attributes: Mapping[str, object],
    ) -> Appends:
        """Make an array that rows are appended to; it grows if it has none."""

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give options of arrays the names that the library knows them by."""
        return dict(given)

    def discard(self) -> None:
        """Stop, and leave what is written as it is."""

    def _finish(self) -> None:
        """Let go of what writing took."""
        self.discard()


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

    def __init__(self, data: Appends, indices: Appends, n_rows: int, indptr_dtype: DTypeLike | None) -> None:
        self._data, self._indices, self._indptr_dtype = data, indices, indptr_dtype
        self._lengths = np.zeros(n_rows, dtype=np.int64)
        self._n_rows = 0

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: Values) -> None:
        """Write the next rows."""
        n_rows = indptr.size - 1
        self._data.append(values)
        self._indices.append(indices)
        self._lengths[self._n_rows : self._n_rows + n_rows] = np.diff(indptr)
        self._n_rows += n_rows

    def steps(self) -> list[int]:
        """Return the entries of which parts have a multiple, of values and of indices."""
        return [self._data.step, self._indices.step]

    def in_parts(self, lengths: NDArray[np.int64]) -> list[Encoder[Any]]:
        """Take parts from now on, of rows of these lengths; return what encodes values and indices."""
        self._lengths[:] = lengths
        return [array.in_parts(int(lengths.sum())) for array in (self._data, self._indices)]

    def put(self, start: int, encoded: Sequence[object]) -> None:
        """Write values and indices from an entry on."""
        for array, part in zip((self._data, self._indices), encoded, strict=True):
            array.put(start, part)

    def close(self) -> NDArray[np.integer]:
        """Write what waits; return where the rows start."""
        self._data.close()
        self._indices.close()
        return _start_offsets(self._lengths, self._indptr_dtype)


class CompressedMatrixWriter(MatrixWriter[Group]):
    """Writes a CSR or CSC matrix, some rows or columns after the other.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What h5py or zarr is given for each array (`compression`, `compressors`, `chunks`, ...).
    kind
        `"csr"`, or `"csc"`: then columns stand where rows do below.
    """

    def __init__(
        self,
        parent: Group,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype,
        dataset_kwargs: Mapping[str, object],
        kind: Literal["csr", "csc"] = "csr",
    ) -> None:
        n_rows, n_columns = shape if kind == "csr" else shape[::-1]
        self._given = self._options(dataset_kwargs)
        indptr_dtype = self._given.pop("indptr_dtype", None)
        attributes = {"shape": list(shape), "encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0"}
        self._group = self._create_group(parent, name, attributes)
        options = {"chunks": (max(min(CHUNK, shape[0] * shape[1]), 1),), **self._given}
        data, indices = (
            self._create_array(self._group, key, (0,), of, options, {})
            for key, of in (("data", dtype), ("indices", index_dtype(n_columns)))
        )
        self._rows = CompressedRows(data, indices, n_rows, indptr_dtype)

    @abstractmethod
    def _write_offsets(self, indptr: NDArray[np.integer]) -> None:
        """Write where the rows start."""

    def append(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: Values) -> None:
        """Write the next rows."""
        self._rows.append(indptr, indices, values)

    def steps(self) -> list[int]:
        """Return the entries of which parts have a multiple, of values and of indices."""
        return self._rows.steps()

    def in_parts(self, lengths: NDArray[np.int64]) -> list[Encoder[Any]]:
        """Take no rows any more but parts of rows that store so many entries; return what encodes these."""
        return self._rows.in_parts(lengths)

    def put(self, start: int, encoded: Sequence[object]) -> None:
        """Write what was encoded of values and indices from an entry on."""
        self._rows.put(start, encoded)

    def close(self) -> None:
        """Write what waits, and where the rows start."""
        self._write_offsets(self._rows.close())
        self._finish()


class DenseMatrixWriter(MatrixWriter[Group]):
    """Writes a dense matrix.

    Parameters
    ----------
    parent, name
        Where it goes.
    shape, dtype
        Of the matrix.
    dataset_kwargs
        What h5py or zarr is given for the array (`compression`, `compressors`, `chunks`, ...).
    """

    def __init__(
        self, parent: Group, name: str, shape: tuple[int, int], dtype: np.dtype, dataset_kwargs: Mapping[str, object]
    ) -> None:
        options = self._options(dataset_kwargs)
        if all(shape) and self._is_cut(options):
            options.setdefault("chunks", (min(max(CHUNK // shape[1], 1), shape[0]), shape[1]))
        # anndata names the encoding after the type that it was given, unless it is named already
        attributes = {"encoding-type": "array", "encoding-version": "0.2.0"}
        self._n_rows = shape[0]
        self._rows = self._create_array(parent, name, shape, dtype, options, attributes)

    def _is_cut(self, options: Mapping[str, object]) -> bool:
        """Return whether an array with these options is cut into chunks."""
        return True

    def append(self, rows: Values) -> None:
        """Write the next rows."""
        self._rows.append(rows)

    def steps(self) -> list[int]:
        """Return the rows of which parts have a multiple."""
        return [self._rows.step]

    def in_parts(self) -> list[Encoder[Any]]:
        """Take no rows any more but parts; return what encodes these."""
        return [self._rows.in_parts(self._n_rows)]

    def put(self, start: int, encoded: Sequence[object]) -> None:
        """Write what was encoded from a row on."""
        self._rows.put(start, encoded[0])

    def close(self) -> None:
        """Write what waits."""
        self._rows.close()
        self._finish()


def _start_offsets(lengths: NDArray[np.int64], dtype: DTypeLike | None = None) -> NDArray[np.integer]:
    """Return where each row starts, and the end, from their lengths: in `dtype`, or as int32 if they fit."""
    indptr = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    narrow = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    return indptr.astype(narrow if dtype is None else dtype)


def index_dtype(n_columns: int) -> np.dtype:
    """Return the type of column numbers: int32, or the narrowest if anndata is set so."""
    if getattr(anndata.settings, "write_csr_csc_indices_with_min_possible_dtype", False):
        return np.min_scalar_type(max(n_columns, 1))
    return np.dtype(np.int32)
