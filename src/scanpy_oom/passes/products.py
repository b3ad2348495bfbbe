"""Products with dense matrices, and the Gram matrix of the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..kernels import accumulate_gram_dense, accumulate_gram_pairs, left_product, right_product
from ..kernels.gram import dense_is_cheaper
from ..memory import ACCOUNTANT
from .arrays import mapped_zeros
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..matrix.chain import Background
    from .block import Block

__all__ = ["ClassSums", "Gram", "GramProduct", "LeftProduct", "RightProduct"]


GROUP = 2**21
"""Cells of the rows that are added to a Gram matrix at a time: 25 MB, if none of them were zero."""


def _class_sums(values: Any, background: Background) -> NDArray[np.float64]:
    """Sum `(n_rows, k)` values over the rows of each class, `(n_classes, k)`."""
    if background.row_class.size == 0:
        return np.asarray(values.sum(axis=0)).reshape(1, -1)
    if sparse.issparse(values):
        members = (background.row_class, np.arange(values.shape[0]))
        return (sparse.csr_matrix((np.ones(values.shape[0]), members)) @ values).toarray()
    out = np.zeros((background.values.shape[0], values.shape[1]))
    np.add.at(out, background.row_class, values)
    return out


class RightProduct(Reduction):
    """Matrix times a dense one, `(n_rows, k)`.

    Parameters
    ----------
    dense
        `(n_columns, k)`.
    offset
        `(k,)` taken off each row of the result.
    dtype
        Dtype of the result.
    """

    def __init__(
        self, dense: NDArray, offset: NDArray[np.float64] | None = None, dtype: np.dtype | type = np.float64
    ) -> None:
        self._dense = np.ascontiguousarray(dense, dtype=np.float64)
        self._offset = np.zeros(self._dense.shape[1]) if offset is None else offset
        self._dtype = dtype

    def prepare(self, matrix: OOMMatrix) -> None:
        self._out = np.zeros((matrix.shape[0], self._dense.shape[1]), dtype=self._dtype)
        background = matrix.chain.background
        self._constant = None if background is None else background.values @ self._dense

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        out = np.empty((block.n_rows, self._dense.shape[1]))
        right_product(block.indptr, block.indices, block.sparse_part(), self._dense, out)
        if self._constant is not None:
            out += self._constant[block.classes()]
        self._out[block.positions] = out - self._offset

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> NDArray:
        ACCOUNTANT.hold(self._out, "results", self._out.nbytes)
        return self._out


class _Summed(Reduction):
    """A dense array that is summed over blocks."""

    _shape: tuple[int, ...]

    def partial(self) -> NDArray[np.float64]:
        return np.zeros(self._shape)

    def partial_nbytes(self) -> int:
        return 8 * int(np.prod(self._shape))

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        total += partial
        return total

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return total


class LeftProduct(_Summed):
    """Matrix transposed times another, `(n_columns, k)`.

    Parameters
    ----------
    dense
        `(n_rows, k)`; may be sparse.
    """

    by_columns = True

    def __init__(self, dense: NDArray | sparse.csr_matrix) -> None:
        self._dense: Any = dense.astype(np.float64)
        if not sparse.issparse(dense):
            self._dense = np.ascontiguousarray(self._dense)

    def prepare(self, matrix: OOMMatrix) -> None:
        self._shape = (matrix.shape[1], self._dense.shape[1])
        self._background = matrix.chain.background

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        rows = self._dense[block.positions]
        if sparse.issparse(rows):
            shape = (block.n_rows, block.n_columns)
            product = (
                sparse.csr_matrix((block.sparse_part(), block.indices, block.indptr), shape=shape).T @ rows
            ).tocoo()
            np.add.at(partial, (product.row, product.col), product.data)
            return
        left_product(block.indptr, block.indices, block.sparse_part(), np.ascontiguousarray(rows), partial)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._background is not None:
            total += self._background.values.T @ _class_sums(self._dense, self._background)
        return total

    def join(self, results: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Put the rows, one a column of the matrix, below each other."""
        return np.concatenate(results)


def _group(n_columns: int) -> int:
    """Return how many rows are added to a Gram matrix at a time, whatever the size of blocks."""
    return min(max(GROUP // max(n_columns, 1), 256), 4096)


class _PartialGram:
    """Part of a Gram matrix, and the rows that have not been added to it yet."""

    __slots__ = ("_group", "_n_rows", "_waiting", "gram")

    def __init__(self, n_columns: int, spare: list[NDArray[np.float64]]) -> None:
        self._group = _group(n_columns)
        try:
            self.gram = spare.pop()  # in one step, whatever other threads do
        except IndexError:
            self.gram = mapped_zeros((n_columns * (n_columns + 1) // 2,))
        else:
            self.gram[:] = 0
        self._waiting: list[sparse.csr_matrix] = []
        self._n_rows = 0

    def add(self, rows: sparse.csr_matrix) -> None:
        """Add rows, in groups of which each is added as a whole."""
        start = 0
        while start < rows.shape[0]:
            stop = min(start + self._group - self._n_rows, rows.shape[0])
            self._waiting.append(rows[start:stop])
            self._n_rows += stop - start
            if self._n_rows == self._group:
                self.flush()
            start = stop

    def flush(self) -> None:
        """Add what is waiting, by the cheaper of two ways."""
        if not self._n_rows:
            return
        group = self._waiting[0] if len(self._waiting) == 1 else sparse.vstack(self._waiting, format="csr")
        arrays = (group.indptr.astype(np.int64), group.indices.astype(np.int32, copy=False), group.data)
        if dense_is_cheaper(arrays[0], group.shape[1]):
            accumulate_gram_dense(*arrays, group.shape[1], self.gram)
        else:
            accumulate_gram_pairs(*arrays, group.shape[1], self.gram)
        self._waiting, self._n_rows = [], 0


class Gram(Reduction):
    """Gram matrix of the columns' *sparse parts*: upper triangle, row by row, `(n_columns * (n_columns + 1) / 2,)`.

    Centring takes off the constant part of a background, so that covariances need nothing else where all rows
    have the same one; :class:`ClassSums` gives what is needed where they have not. Rows are added in groups whose size
    does not depend on that of blocks: so neither does how sums are rounded.
    """

    uses_blas = True

    def prepare(self, matrix: OOMMatrix) -> None:
        self._n_columns = matrix.shape[1]
        # rows that wait, and once more where they are put together; columns that are shown may be fuller than others
        per_row = 2 * matrix.stored / max(matrix.shape[0], 1) * matrix.shape[1] / max(matrix.source.shape[1], 1)
        per_row = max(per_row, matrix.chain.least_entries())
        self._waiting_nbytes = int(2 * 12 * _group(matrix.shape[1]) * min(per_row, matrix.shape[1]))
        self._spare: list[NDArray[np.float64]] = []  # of partial results that were merged: new pages take a while

    def partial(self) -> _PartialGram:
        return _PartialGram(self._n_columns, self._spare)

    def partial_nbytes(self) -> int:
        return 4 * self._n_columns * (self._n_columns + 1)

    def workspace_nbytes(self) -> int:
        """Bytes of the rows that wait."""
        return self._waiting_nbytes

    def update(self, partial: _PartialGram, block: Block) -> None:
        shape = (block.n_rows, block.n_columns)
        partial.add(sparse.csr_matrix((block.sparse_part(), block.indices, block.indptr), shape=shape))

    def finish(self, partial: _PartialGram) -> _PartialGram:
        """Add the rows that still wait."""
        partial.flush()
        return partial

    def merge(self, total: _PartialGram, partial: _PartialGram) -> _PartialGram:
        total.gram += partial.gram
        self._spare.append(partial.gram)
        return total

    def result(self, total: _PartialGram) -> NDArray[np.float64]:
        self._spare.clear()
        return total.gram


class ClassSums(_Summed):
    """Sums of the columns' *sparse parts* over the rows of each class of background, `(n_classes, n_columns)`."""

    def prepare(self, matrix: OOMMatrix) -> None:
        background = matrix.chain.background
        self._shape = (1 if background is None else background.values.shape[0], matrix.shape[1])

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        if self._shape[0] == 1:
            ones = np.ones((block.n_rows, 1))
            left_product(block.indptr, block.indices, block.sparse_part(), ones, partial.reshape(-1, 1))
            return
        places = block.classes()[block.row_of_entry()] * self._shape[1] + block.indices
        # one after the other, so that sums are rounded alike whatever the size of blocks
        np.add.at(partial.reshape(-1), places, block.sparse_part())


class GramProduct(_Summed):
    """Matrix transposed times the matrix times a dense one, `(n_columns, k)`, in one pass.

    The columns may be centred: then all of it refers to the matrix less its column means.

    Parameters
    ----------
    dense
        `(n_columns, k)`.
    mean
        `(n_columns,)` taken off each column; None not to centre.
    """

    def __init__(self, dense: NDArray[np.float64], mean: NDArray[np.float64] | None) -> None:
        self._dense = np.ascontiguousarray(dense, dtype=np.float64)
        self._mean = mean

    def prepare(self, matrix: OOMMatrix) -> None:
        # rows of the partial result: one a column, then one a class of background
        self._background = matrix.chain.background
        self._n_columns = matrix.shape[1]
        n_classes = 1 if self._background is None else self._background.values.shape[0]
        self._shape = (self._n_columns + n_classes, self._dense.shape[1])
        zero = np.zeros((1, self._n_columns))
        offset = zero if self._background is None else self._background.values
        self._offset = offset if self._mean is None else offset - self._mean
        self._constant = self._offset @ self._dense

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        product = np.empty((block.n_rows, self._dense.shape[1]))
        right_product(block.indptr, block.indices, block.sparse_part(), self._dense, product)
        classes = block.classes()
        product += self._constant[classes]
        left_product(block.indptr, block.indices, block.sparse_part(), product, partial[: self._n_columns])
        np.add.at(partial[self._n_columns :], classes, product)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return total[: self._n_columns] + self._offset.T @ total[self._n_columns :]
