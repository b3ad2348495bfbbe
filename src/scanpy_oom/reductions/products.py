"""Products with dense matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..engine.array_implementation import ArrayImplementation, ArraySums, implements
from ..engine.reduction import Reduction
from ..kernels import left_product, right_product
from ..memory.ledger import ACCOUNTANT
from .by_row import ByRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix
    from ..matrix.transforms.chain import FillValues

__all__ = ["LeftProduct", "LeftProductSpec", "RightProduct", "RightProductSpec", "Summed"]


@dataclass(frozen=True, slots=True, eq=False)
class RightProductSpec:
    """Parameters of :class:`RightProduct`.

    Parameters
    ----------
    dense
        `(n_columns, k)`.
    offset
        `(k,)` taken off each row of the result.
    dtype
        Dtype of the result.
    constant
        `(n_classes, k)` products of the fill values; None if zeros stay zeros.
    """

    dense: NDArray[np.float64]
    offset: NDArray[np.float64]
    dtype: np.dtype | type
    constant: NDArray[np.float64] | None = None


class RightProduct(ByRow):
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

    spec: RightProductSpec

    def __init__(
        self, dense: np.ndarray, offset: NDArray[np.float64] | None = None, dtype: np.dtype | type = np.float64
    ) -> None:
        offset = np.zeros(dense.shape[1]) if offset is None else offset
        self.spec = RightProductSpec(np.ascontiguousarray(dense, dtype=np.float64), offset, dtype)

    def prepare(self, matrix: OOMMatrix) -> None:
        spec, fill_values = self.spec, matrix.chain.fill_values
        self.out = np.zeros((matrix.shape[0], spec.dense.shape[1]), dtype=spec.dtype)
        self.spec = replace(spec, constant=None if fill_values is None else fill_values.values @ spec.dense)

    def update(self, partial: np.ndarray, block: Block) -> None:
        spec = self.spec
        out = np.empty((block.n_rows, spec.dense.shape[1]))
        right_product(block.indptr, block.indices, block.sparse_part(), spec.dense, out)
        if spec.constant is not None:
            out += spec.constant[block.classes()]
        partial[block.positions] = out - spec.offset

    def result(self, total: np.ndarray) -> np.ndarray:
        ACCOUNTANT.hold(total, "results", total.nbytes)
        return total


@implements(RightProduct)
class ArrayRightProduct(ArrayImplementation[RightProductSpec, np.ndarray]):
    """Array implementation of :class:`RightProduct`."""

    def begin(self, host: np.ndarray) -> None:
        super().begin(host)
        spec, xp = self.spec, self.xp
        self.dense = xp.asarray(spec.dense)
        constant = np.zeros((1, spec.dense.shape[1])) if spec.constant is None else spec.constant
        self.constant = xp.asarray(constant - spec.offset)

    def update(self, block: ArrayBlock) -> None:
        out = block.csr(block.sparse_part) @ self.dense + self.constant[block.classes()]
        block.to_rows(out.astype(self.spec.dtype), self.host)

    def workspace_nbytes(self) -> int:
        return 2 * self.spec.dense.nbytes


class Summed(Reduction):
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


def _class_sums(values: np.ndarray | sparse.csr_matrix, fill_values: FillValues) -> NDArray[np.float64]:
    """Sum `(n_rows, k)` values over the rows of each class, `(n_classes, k)`."""
    if fill_values.row_class.size == 0:
        return np.asarray(values.sum(axis=0)).reshape(1, -1)
    if sparse.issparse(values):
        members = (fill_values.row_class, np.arange(values.shape[0]))
        return (sparse.csr_matrix((np.ones(values.shape[0]), members)) @ values).toarray()
    out = np.zeros((fill_values.values.shape[0], values.shape[1]))
    np.add.at(out, fill_values.row_class, values)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class LeftProductSpec:
    """Parameters of :class:`LeftProduct`.

    Parameters
    ----------
    dense
        `(n_rows, k)`; may be sparse.
    """

    dense: np.ndarray | sparse.csr_matrix


class LeftProduct(Summed):
    """Matrix transposed times another, `(n_columns, k)`.

    Parameters
    ----------
    dense
        `(n_rows, k)`; may be sparse.
    """

    by_columns = True
    spec: LeftProductSpec

    def __init__(self, dense: np.ndarray | sparse.csr_matrix) -> None:
        dense = dense.astype(np.float64)
        self.spec = LeftProductSpec(dense if sparse.issparse(dense) else np.ascontiguousarray(dense))

    def prepare(self, matrix: OOMMatrix) -> None:
        self._shape = (matrix.shape[1], self.spec.dense.shape[1])
        self._fill_values = matrix.chain.fill_values

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        rows = self.spec.dense[block.positions]
        if sparse.issparse(rows):
            shape = (block.n_rows, block.n_columns)
            product = (
                sparse.csr_matrix((block.sparse_part(), block.indices, block.indptr), shape=shape).T @ rows
            ).tocoo()
            np.add.at(partial, (product.row, product.col), product.data)
            return
        left_product(block.indptr, block.indices, block.sparse_part(), np.ascontiguousarray(rows), partial)

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._fill_values is not None:
            total += self._fill_values.values.T @ _class_sums(self.spec.dense, self._fill_values)
        return total

    def join(self, results: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Put the rows, one a column of the matrix, below each other."""
        return np.concatenate(results)


@implements(LeftProduct)
class ArrayLeftProduct(ArraySums[LeftProductSpec]):
    """Array implementation of :class:`LeftProduct`."""

    @classmethod
    def covers(cls, spec: LeftProductSpec) -> bool:
        return not sparse.issparse(spec.dense)

    def update(self, block: ArrayBlock) -> None:
        product = block.csr(block.sparse_part).T @ block.of_rows(self.spec.dense)
        self.partial += product
