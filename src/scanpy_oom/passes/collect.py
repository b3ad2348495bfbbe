"""Bringing values into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..memory import ACCOUNTANT
from ..settings import settings
from .budget import require
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["CollectDense", "CollectSparse"]

_ADVICE = "Take fewer rows or columns."


class CollectDense(Reduction):
    """All values as an array, `(n_rows, n_columns)`."""

    by_columns = True
    is_final = True

    def __init__(self, what: str) -> None:
        self._what = what

    def prepare(self, matrix: OOMMatrix) -> None:
        n_rows, n_columns = matrix.shape
        require(n_rows * n_columns * matrix.dtype.itemsize, f"{self._what} on {matrix!r}", _ADVICE)
        self._out = np.zeros(matrix.shape, dtype=matrix.dtype)

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        first = block.positions.start if isinstance(block.positions, slice) else 0
        for start, rows in block.dense_rows():
            stop = start + rows.shape[0]
            where: Any = slice(first + start, first + stop)
            if not isinstance(block.positions, slice):
                where = block.positions[start:stop]
            self._out[where] = rows

    def merge(self, total: None, partial: None) -> None:
        return None

    def join(self, results: list[NDArray]) -> NDArray:
        """Put the columns side by side."""
        return results[0] if len(results) == 1 else np.hstack(results)

    def result(self, total: None) -> NDArray:
        ACCOUNTANT.hold(self._out, "results", self._out.nbytes)
        return self._out


class CollectSparse(Reduction):
    """All values as a CSR matrix.

    Parts are held by task and copied to their places at the end.
    """

    by_columns = True
    is_final = True

    def __init__(self, what: str) -> None:
        self._what = what

    def prepare(self, matrix: OOMMatrix) -> None:
        self._matrix = matrix
        require(matrix.nbytes_in_memory, f"{self._what} on {matrix!r}", _ADVICE)
        self._lengths = np.zeros(matrix.shape[0], dtype=np.int64)
        self._entry_size = matrix.dtype.itemsize + 4

    def partial(self) -> list[tuple[Any, NDArray, NDArray]]:
        return []

    def update(self, partial: list[tuple[Any, NDArray, NDArray]], block: Block) -> None:
        indptr, indices, values = block.indptr, block.indices, block.values
        if block.background.size:
            dense = sparse.csr_matrix(block.toarray())
            indptr, indices, values = dense.indptr, dense.indices.astype(np.int32), dense.data
        self._lengths[block.positions] = np.diff(indptr)
        partial.append((block.positions, indices.copy(), values.astype(self._matrix.dtype)))

    def merge(self, total: list, partial: list) -> list:
        total += partial
        size = sum(indices.size for _, indices, _ in total) * self._entry_size
        if size > settings.memory_limit:  # the estimate before the pass knew the columns' mean density alone
            require(size, f"{self._what} on {self._matrix!r}", _ADVICE)
        return total

    def join(self, results: list[sparse.csr_matrix]) -> sparse.csr_matrix:
        """Put the columns side by side."""
        return results[0] if len(results) == 1 else sparse.csr_matrix(sparse.hstack(results, format="csr"))

    def result(self, total: list[tuple[Any, NDArray, NDArray]]) -> sparse.csr_matrix:
        indptr = np.zeros(self._lengths.size + 1, dtype=np.int64)
        np.cumsum(self._lengths, out=indptr[1:])
        nnz = int(indptr[-1])
        index_dtype = np.int32 if max(nnz, self._matrix.shape[1]) <= np.iinfo(np.int32).max else np.int64
        indices = np.empty(nnz, dtype=index_dtype)
        data = np.empty(nnz, dtype=self._matrix.dtype)
        total.reverse()
        while total:
            positions, part_indices, part_data = total.pop()
            if isinstance(positions, slice):
                where: Any = slice(indptr[positions.start], indptr[positions.stop])
            else:
                lengths = self._lengths[positions]
                starts = np.repeat(indptr[positions] - np.cumsum(lengths) + lengths, lengths)
                where = starts + np.arange(part_indices.size)
            indices[where] = part_indices
            data[where] = part_data
        out = sparse.csr_matrix((data, indices, indptr.astype(index_dtype)), shape=self._matrix.shape)
        columns = self._matrix.selection.columns
        if columns is not None and (np.diff(columns) < 0).any():
            out.sort_indices()
        ACCOUNTANT.hold(out, "results", out.data.nbytes + out.indices.nbytes + out.indptr.nbytes)
        return out
