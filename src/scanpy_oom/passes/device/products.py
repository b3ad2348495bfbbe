"""Products with dense matrices, and the Gram matrix, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..products import ClassSums, Gram, GramProduct, LeftProduct, RightProduct
from .form import ArrayForm, SummedForm, array_form

if TYPE_CHECKING:
    from ...matrix import OOMMatrix
    from .block import ArrayBlock

__all__: list[str] = []

DENSE_CELLS = 2**24
"""Cells of the rows that are made dense at a time: 128 MB."""


@array_form(RightProduct)
class ArrayRightProduct(ArrayForm):
    """See :class:`~scanpy_oom.passes.RightProduct`."""

    def begin(self) -> None:
        reduction = self.reduction
        self.dense = self.xp.asarray(reduction._dense)
        constant = np.zeros((1, self.dense.shape[1])) if reduction._constant is None else reduction._constant
        self.constant = self.xp.asarray(constant - reduction._offset)

    def update(self, block: ArrayBlock) -> None:
        out = block.csr(block.sparse_part) @ self.dense + self.constant[block.classes()]
        block.to_rows(out.astype(self.reduction._dtype), self.reduction._out)

    def nbytes(self) -> int:
        return 2 * int(self.reduction._dense.nbytes)


@array_form(LeftProduct)
class ArrayLeftProduct(SummedForm):
    """See :class:`~scanpy_oom.passes.LeftProduct`."""

    @classmethod
    def covers(cls, reduction: Any, matrix: OOMMatrix) -> bool:
        return not sparse.issparse(reduction._dense)

    def begin(self) -> None:
        self.shape = self.reduction._shape
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        product = block.csr(block.sparse_part).T @ block.of_rows(self.reduction._dense)
        self.partial += product

    def finish(self) -> Any:
        return self.summed()


@array_form(Gram)
class ArrayGram(SummedForm):
    """See :class:`~scanpy_oom.passes.Gram`. Rows are made dense, some at a time."""

    def begin(self) -> None:
        n = self.matrix.shape[1]
        self.shape = (n, n)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        rows, n = block.csr(block.sparse_part), block.n_columns
        step = max(1, DENSE_CELLS // max(n, 1))
        product = self.xp.zeros(self.shape)
        for start in range(0, block.n_rows, step):
            dense = rows[start : start + step].toarray()
            product += dense.T @ dense
        self.partial += product

    def end_task(self) -> None:
        """Go on with the same sum: the matrix is large, and is not equal to the last bit in any case."""

    def finish(self) -> Any:
        partial, found = self.reduction.partial(), self.summed()
        start = 0
        for row in range(found.shape[0]):
            stop = start + found.shape[0] - row
            partial.gram[start:stop] = found[row, row:]
            start = stop
        return partial

    def nbytes(self) -> int:
        return 4 * 8 * int(self.matrix.shape[1]) ** 2 + 2 * 8 * DENSE_CELLS


@array_form(ClassSums)
class ArrayClassSums(SummedForm):
    """See :class:`~scanpy_oom.passes.ClassSums`."""

    def begin(self) -> None:
        self.shape = (int(np.prod(self.reduction._shape)),)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        places = block.classes()[block.rows] * block.n_columns + block.indices
        self.scatter(self.partial, places, block.sparse_part)

    def finish(self) -> Any:
        return self.summed().reshape(self.reduction._shape)


@array_form(GramProduct)
class ArrayGramProduct(SummedForm):
    """See :class:`~scanpy_oom.passes.GramProduct`."""

    def begin(self) -> None:
        reduction, xp = self.reduction, self.xp
        self.shape = reduction._shape
        self.dense, self.constant = xp.asarray(reduction._dense), xp.asarray(reduction._constant)
        super().begin()

    def update(self, block: ArrayBlock) -> None:
        xp, n = self.xp, block.n_columns
        rows = block.csr(block.sparse_part)
        product = rows @ self.dense + self.constant[block.classes()]
        members = xp.arange(self.shape[0] - n)[:, None] == block.classes()[None, :]
        change = xp.concatenate([rows.T @ product, members.astype(np.float64) @ product])
        self.partial += change

    def finish(self) -> Any:
        return self.summed()

    def nbytes(self) -> int:
        return 3 * int(self.reduction.partial_nbytes()) + 2 * int(self.reduction._dense.nbytes)
