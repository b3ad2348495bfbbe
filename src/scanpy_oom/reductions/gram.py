"""The Gram matrix of the columns, sums that center it, and its products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..engine.array_implementation import ArraySums, SummedImplementation, implements
from ..engine.reduction import Reduction
from ..engine.runtime.large_arrays import mapped_zeros
from ..kernels import accumulate_gram_dense, accumulate_gram_pairs, left_product, right_product
from ..kernels.gram import dense_is_cheaper
from .products import Summed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

    Packed: TypeAlias = tuple[NDArray[np.float64], Sequence[sparse.csr_matrix]]

__all__ = ["ClassSums", "Gram", "GramProduct", "GramProductSpec"]

GROUP = 2**21
"""Cells of the rows that are added to a Gram matrix at a time: 25 MB, if none of them were zero."""

_DENSE_CELLS = 2**24
"""Cells of the rows that a device makes dense at a time: 128 MB."""


def _group(n_columns: int) -> int:
    """Return how many rows are added to a Gram matrix at a time, whatever the size of blocks."""
    return min(max(GROUP // max(n_columns, 1), 256), 4096)


class _PartialGram:
    """Part of a Gram matrix, and the rows that have not been added to it yet."""

    __slots__ = ("_group", "_n_rows", "gram", "waiting")

    def __init__(self, n_columns: int, gram: NDArray[np.float64], waiting: Sequence[sparse.csr_matrix] = ()) -> None:
        self._group = _group(n_columns)
        self.gram = gram
        self.waiting = list(waiting)
        self._n_rows = sum(rows.shape[0] for rows in waiting)

    def add(self, rows: sparse.csr_matrix) -> None:
        """Add rows, in groups of which each is added as a whole."""
        start = 0
        while start < rows.shape[0]:
            stop = min(start + self._group - self._n_rows, rows.shape[0])
            self.waiting.append(rows[start:stop])
            self._n_rows += stop - start
            if self._n_rows == self._group:
                self.flush()
            start = stop

    def flush(self) -> None:
        """Add what is waiting, by the cheaper of two ways."""
        if not self._n_rows:
            return
        group = self.waiting[0] if len(self.waiting) == 1 else sparse.vstack(self.waiting, format="csr")
        arrays = (group.indptr.astype(np.int64), group.indices.astype(np.int32, copy=False), group.data)
        if dense_is_cheaper(arrays[0], group.shape[1]):
            accumulate_gram_dense(*arrays, group.shape[1], self.gram)
        else:
            accumulate_gram_pairs(*arrays, group.shape[1], self.gram)
        self.waiting, self._n_rows = [], 0


class Gram(Reduction):
    """Gram matrix of the columns' *sparse parts*: upper triangle, row by row, `(n_columns * (n_columns + 1) / 2,)`.

    Centring takes off the constant part of a fill_values, so that covariances need nothing else where all rows
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
        try:
            gram = self._spare.pop()  # in one step, whatever other threads do
        except IndexError:
            gram = mapped_zeros((self._n_columns * (self._n_columns + 1) // 2,))
        else:
            gram[:] = 0
        return _PartialGram(self._n_columns, gram)

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

    def pack(self, partial: _PartialGram) -> Packed:
        return partial.gram, partial.waiting

    def unpack(self, packed: Packed) -> _PartialGram:
        return _PartialGram(self._n_columns, *packed)

    def merge(self, total: _PartialGram, partial: _PartialGram) -> _PartialGram:
        total.gram += partial.gram
        self._spare.append(partial.gram)
        return total

    def result(self, total: _PartialGram) -> NDArray[np.float64]:
        self._spare.clear()
        return total.gram


@implements(Gram)
class ArrayGram(SummedImplementation[None, _PartialGram]):
    """Array implementation of :class:`Gram`. Rows are made dense, some at a time."""

    copies = 0

    def sums_shape(self) -> tuple[int, ...]:
        n = self.matrix_shape[1]
        return n, n

    def update(self, block: ArrayBlock) -> None:
        rows, n = block.csr(block.sparse_part), block.n_columns
        step = max(1, _DENSE_CELLS // max(n, 1))
        product = self.xp.zeros((n, n))
        for start in range(0, block.n_rows, step):
            dense = rows[start : start + step].toarray()
            product += dense.T @ dense
        self.partial += product

    def end_task(self) -> None:
        """Go on with the same sum: the matrix is large, and is not equal to the last bit in any case."""

    def finish(self) -> _PartialGram:
        found, start = self.summed(), 0
        for row in range(found.shape[0]):
            stop = start + found.shape[0] - row
            self.host.gram[start:stop] = found[row, row:]
            start = stop
        return self.host

    def workspace_nbytes(self) -> int:
        return 4 * 8 * self.matrix_shape[1] ** 2 + 2 * 8 * _DENSE_CELLS


class ClassSums(Summed):
    """Sums of the columns' *sparse parts* over the rows of each class of fill_values, `(n_classes, n_columns)`."""

    def prepare(self, matrix: OOMMatrix) -> None:
        fill_values = matrix.chain.fill_values
        self._shape = (1 if fill_values is None else fill_values.values.shape[0], matrix.shape[1])

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        if self._shape[0] == 1:
            ones = np.ones((block.n_rows, 1))
            left_product(block.indptr, block.indices, block.sparse_part(), ones, partial.reshape(-1, 1))
            return
        places = block.classes()[block.row_of_entry()] * self._shape[1] + block.indices
        # one after the other, so that sums are rounded alike whatever the size of blocks
        np.add.at(partial.reshape(-1), places, block.sparse_part())


@implements(ClassSums)
class ArrayClassSums(ArraySums[None]):
    """Array implementation of :class:`ClassSums`."""

    def update(self, block: ArrayBlock) -> None:
        places = block.classes()[block.rows] * block.n_columns + block.indices
        self.scatter(self.partial.reshape(-1), places, block.sparse_part)


@dataclass(frozen=True, slots=True, eq=False)
class GramProductSpec:
    """Parameters of :class:`GramProduct`.

    Parameters
    ----------
    dense
        `(n_columns, k)`.
    mean
        `(n_columns,)` taken off each column; None not to centre.
    offset
        `(n_classes, n_columns)` fill values, less the mean.
    """

    dense: NDArray[np.float64]
    mean: NDArray[np.float64] | None
    offset: NDArray[np.float64]


class GramProduct(Summed):
    """Matrix transposed times the matrix times a dense one, `(n_columns, k)`, in one pass.

    The columns may be centred: then all of it refers to the matrix less its column means.

    Parameters
    ----------
    dense
        `(n_columns, k)`.
    mean
        `(n_columns,)` taken off each column; None not to centre.
    """

    spec: GramProductSpec

    def __init__(self, dense: NDArray[np.float64], mean: NDArray[np.float64] | None) -> None:
        dense = np.ascontiguousarray(dense, dtype=np.float64)
        self.spec = GramProductSpec(dense, mean, np.zeros((1, dense.shape[0])))

    def prepare(self, matrix: OOMMatrix) -> None:
        spec, fill_values = self.spec, matrix.chain.fill_values
        offset = np.zeros((1, matrix.shape[1])) if fill_values is None else fill_values.values
        self.spec = replace(spec, offset=offset if spec.mean is None else offset - spec.mean)
        self._constant = self.spec.offset @ spec.dense
        # rows of the partial result: one a column, then one a class of fill values
        self._n_columns = matrix.shape[1]
        self._shape = (self._n_columns + len(offset), spec.dense.shape[1])

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        dense = self.spec.dense
        product = np.empty((block.n_rows, dense.shape[1]))
        right_product(block.indptr, block.indices, block.sparse_part(), dense, product)
        classes = block.classes()
        product += self._constant[classes]
        left_product(block.indptr, block.indices, block.sparse_part(), product, partial[: self._n_columns])
        np.add.at(partial[self._n_columns :], classes, product)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return total[: self._n_columns] + self.spec.offset.T @ total[self._n_columns :]


@implements(GramProduct)
class ArrayGramProduct(ArraySums[GramProductSpec]):
    """Array implementation of :class:`GramProduct`."""

    copies = 4

    def begin(self, host: NDArray[np.generic]) -> None:
        self.dense, self.constant = (self.xp.asarray(x) for x in (self.spec.dense, self.spec.offset @ self.spec.dense))
        super().begin(host)

    def update(self, block: ArrayBlock) -> None:
        xp, n = self.xp, block.n_columns
        rows = block.csr(block.sparse_part)
        product = rows @ self.dense + self.constant[block.classes()]
        members = xp.arange(self.host.shape[0] - n)[:, None] == block.classes()[None, :]
        change = xp.concatenate([rows.T @ product, members.astype(np.float64) @ product])
        self.partial += change

    def workspace_nbytes(self) -> int:
        return 2 * self.spec.dense.nbytes
