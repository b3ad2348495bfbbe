"""Bringing values into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from ..engine.budget import require
from ..engine.reduction import Everything, Reduction
from ..memory.ledger import ACCOUNTANT
from ..settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..matrix import OOMMatrix

    Positions: TypeAlias = slice | NDArray[np.intp]
    Piece: TypeAlias = tuple[Positions, np.ndarray, np.ndarray]

__all__ = ["CollectDense", "CollectSparse", "Nothing", "SparseProduct"]

_ADVICE = "Take fewer rows or columns."


class CollectDense(Reduction):
    """All values as an array, `(n_rows, n_columns)`.

    Parameters
    ----------
    what
        What asks for them, for messages.
    order
        "F" for an array whose columns lie side by side.
    """

    by_columns = True
    is_final = True

    def __init__(self, what: str, order: Literal["C", "F"] = "C") -> None:
        self._what = what
        self._order: Literal["C", "F"] = order

    def check_room(self, matrix: OOMMatrix) -> None:
        n_rows, n_columns = matrix.shape
        require(n_rows * n_columns * matrix.dtype.itemsize, f"{self._what} on {matrix!r}", _ADVICE)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros(matrix.shape, dtype=matrix.dtype_in_memory, order=self._order)

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        first = block.positions.start if isinstance(block.positions, slice) else 0
        for start, rows in block.dense_rows():
            stop = start + rows.shape[0]
            where = slice(first + start, first + stop)
            self._out[where if isinstance(block.positions, slice) else block.positions[start:stop]] = rows

    def merge(self, total: None, partial: None) -> None:
        return None

    def join(self, results: list[np.ndarray]) -> np.ndarray:
        """Put the columns side by side."""
        return results[0] if len(results) == 1 else np.hstack(results)

    def by_row(self) -> Sequence[np.ndarray]:
        return (self._out,)

    def result(self, total: None) -> np.ndarray:
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

    def check_room(self, matrix: OOMMatrix) -> None:
        require(matrix.nbytes_in_memory, f"{self._what} on {matrix!r}", _ADVICE)

    def prepare(self, matrix: OOMMatrix) -> None:
        columns = matrix.selection.columns
        self._sorts = columns is not None and bool((np.diff(columns) < 0).any())
        # SciPy holds no half precision: of an array that is transposed, say
        self._prepare(matrix, matrix.shape, np.dtype(np.float32) if matrix.dtype == np.float16 else matrix.dtype)

    def _prepare(self, matrix: OOMMatrix, shape: tuple[int, int], dtype: np.dtype) -> None:
        self._matrix, self._shape, self._dtype = matrix, shape, dtype
        self._lengths = np.zeros(shape[0], dtype=np.int64)
        self._entry_size = dtype.itemsize + 4

    def partial(self) -> list[Piece]:
        return []

    def update(self, partial: list[Piece], block: Block) -> None:
        indptr, indices, values = block.indptr, block.indices, block.values
        if block.fill_values.size:
            dense = sparse.csr_matrix(block.toarray())
            indptr, indices, values = dense.indptr, dense.indices.astype(np.int32), dense.data
        if self._matrix.chain.drops_zeros:
            kept = values != 0
            indptr = np.append(0, np.cumsum(kept))[indptr]
            indices, values = indices[kept], values[kept]
        self._lengths[block.positions] = np.diff(indptr)
        partial.append((block.positions, indices.copy(), values.astype(self._dtype)))

    def merge(self, total: list[Piece], partial: list[Piece]) -> list[Piece]:
        total += partial
        size = sum(indices.size for _, indices, _ in total) * self._entry_size
        if size > settings.memory_limit:  # the estimate before the pass knew the columns' mean density alone
            require(size, f"{self._what} on {self._matrix!r}", _ADVICE)
        return total

    def join(self, results: list[sparse.csr_matrix]) -> sparse.csr_matrix:
        """Put the columns side by side."""
        return results[0] if len(results) == 1 else sparse.csr_matrix(sparse.hstack(results, format="csr"))

    def by_row(self) -> Sequence[np.ndarray]:
        return (self._lengths,)

    def result(self, total: list[Piece]) -> sparse.csr_matrix:
        indptr = np.zeros(self._lengths.size + 1, dtype=np.int64)
        np.cumsum(self._lengths, out=indptr[1:])
        nnz = int(indptr[-1])
        index_dtype = np.int32 if max(nnz, self._shape[1]) <= np.iinfo(np.int32).max else np.int64
        indices = np.empty(nnz, dtype=index_dtype)
        data = np.empty(nnz, dtype=self._dtype)
        total.reverse()
        while total:
            positions, part_indices, part_data = total.pop()
            if isinstance(positions, slice):
                where: Positions = slice(indptr[positions.start], indptr[positions.stop])
            else:
                lengths = self._lengths[positions]
                starts = np.repeat(indptr[positions] - np.cumsum(lengths) + lengths, lengths)
                where = starts + np.arange(part_indices.size)
            indices[where] = part_indices
            data[where] = part_data
        out = sparse.csr_matrix((data, indices, indptr.astype(index_dtype)), shape=self._shape)
        if self._sorts:
            out.sort_indices()
        ACCOUNTANT.hold(out, "results", out.data.nbytes + out.indices.nbytes + out.indptr.nbytes)
        return out


class Nothing(Everything):
    """Nothing: of a pass that is made for what it leaves behind."""

    is_final = True


class SparseProduct(CollectSparse):
    """Matrix times a sparse one, as a CSR matrix.

    Parameters
    ----------
    factors
        `(n_columns, k)`.
    """

    by_columns = False

    def __init__(self, factors: sparse.csr_matrix) -> None:
        super().__init__("A product with a sparse matrix")
        self._factors = factors

    def check_room(self, matrix: OOMMatrix) -> None:
        """Nothing: how much the product holds is known once it is made."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._sorts = True
        self._prepare(matrix, (matrix.shape[0], self._factors.shape[1]), np.dtype(np.float64))

    def update(self, partial: list[Piece], block: Block) -> None:
        rows = sparse.csr_matrix((block.values, block.indices, block.indptr), shape=(block.n_rows, block.n_columns))
        product = (sparse.csr_matrix(block.toarray()) if block.fill_values.size else rows) @ self._factors
        self._lengths[block.positions] = np.diff(product.indptr)
        partial.append((block.positions, product.indices, product.data))
