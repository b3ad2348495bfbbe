"""Reductions by row: sums over sets of columns and of the largest values, and extremes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import ArrayImplementation, ArraySums, add_up, implements
from ..engine.reduction import Reduction
from ..kernels import masked_row_sums, top_row_sums
from .by_row import ByRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..matrix import OOMMatrix

__all__ = [
    "HighlyExpressed",
    "HighlyExpressedSpec",
    "RowDeviations",
    "RowExtrema",
    "SetSums",
    "SetSumsSpec",
    "TopSums",
    "TopSumsSpec",
]


@dataclass(frozen=True, slots=True, eq=False)
class SetSumsSpec:
    """Parameters of :class:`SetSums`.

    Parameters
    ----------
    member
        `(n_columns, n_sets)` booleans.
    """

    member: NDArray[np.bool_]


class SetSums(ByRow):
    """Sum of each row over sets of columns, `(n_rows, n_sets)`.

    Parameters
    ----------
    member
        `(n_columns, n_sets)` booleans.
    """

    spec: SetSumsSpec

    def __init__(self, member: NDArray[np.bool_]) -> None:
        self.spec = SetSumsSpec(np.ascontiguousarray(member))

    def prepare(self, matrix: OOMMatrix) -> None:
        self.out = np.zeros((matrix.shape[0], self.spec.member.shape[1]))

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        member = self.spec.member
        out = np.empty((block.n_rows, member.shape[1]))
        masked_row_sums(block.indptr, block.indices, block.sparse_part(), member, out)
        if block.fill_values.size:
            out += (block.fill_values @ member)[block.classes()]
        partial[block.positions] = out


@implements(SetSums)
class ArraySetSums(ArrayImplementation[SetSumsSpec, np.ndarray]):
    """Array implementation of :class:`SetSums`."""

    def begin(self, host: np.ndarray) -> None:
        super().begin(host)
        self.member = self.xp.asarray(self.spec.member)

    def update(self, block: ArrayBlock) -> None:
        xp, member = self.xp, self.member[block.indices]
        # set by set, and not as a product, in which what is no number would reach the other sets
        sums = [block.row_sums(xp.where(inside, block.sparse_part, 0.0)) for inside in member.T]
        out = xp.stack(sums, axis=1) if sums else xp.zeros((block.n_rows, 0))
        if block.fill_values is not None:
            out = out + (block.fill_values @ self.member.astype(np.float64))[block.classes()]
        block.to_rows(out, self.host)

    def workspace_nbytes(self) -> int:
        return 9 * self.spec.member.size


@dataclass(frozen=True, slots=True, eq=False)
class TopSumsSpec:
    """Parameters of :class:`TopSums`.

    Parameters
    ----------
    ns
        Increasing numbers of values to sum.
    stored_first
        Whether zeros count only where other values are missing.
    """

    ns: NDArray[np.int64]
    stored_first: bool

    def width(self, n_columns: int) -> int:
        """Return how many values a row has, zeros among them that count."""
        return int(self.ns[-1]) if self.stored_first and self.ns.size else n_columns


class TopSums(ByRow):
    """Sum of the largest values of each row, `(n_rows, len(ns))`.

    Parameters
    ----------
    ns
        Increasing numbers of values to sum, none above the number of columns.
    stored_first
        As scanpy does for sparse matrices: zeros count only in rows that have fewer other values than the last of
        `ns`, and no more of them than are missing. So sums differ where values are below zero.
    """

    spec: TopSumsSpec

    def __init__(self, ns: NDArray[np.integer], *, stored_first: bool = False) -> None:
        self.spec = TopSumsSpec(np.asarray(ns, dtype=np.int64), stored_first)

    def prepare(self, matrix: OOMMatrix) -> None:
        self.out = np.zeros((matrix.shape[0], self.spec.ns.size))

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        ns = self.spec.ns
        out = np.empty((block.n_rows, ns.size))
        for rows, (indptr, _, values) in block.entries(full=block.fill_values.size > 0):
            top_row_sums(indptr, values, self.spec.width(block.n_columns), ns, out[rows])
        partial[block.positions] = out


@implements(TopSums)
class ArrayTopSums(ArrayImplementation[TopSumsSpec, np.ndarray]):
    """Array implementation of :class:`TopSums`."""

    takes_fill_values = False

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        falling = xp.where(xp.isnan(block.values), -np.inf, -block.values)  # what is no number counts as the largest
        order = xp.lexsort(xp.stack([falling, block.rows.astype(np.float64)]))
        values, rows = block.values[order], block.rows[order]
        place = xp.arange(values.size) - block.indptr[rows]
        # zeros stand before what is negative, those that are not stored as well as those that are
        n_stored = xp.diff(block.indptr)
        n_zeros = add_up(xp, block.rows, (block.values == 0).astype(np.float64), block.n_rows).astype(np.int64)
        unstored = xp.maximum(self.spec.width(block.n_columns) - (n_stored - n_zeros), 0) - n_zeros
        place += xp.where(values < 0, unstored[rows], 0)
        tops = [add_up(xp, rows, xp.where(place < int(n), values, 0.0), block.n_rows) for n in self.spec.ns]
        block.to_rows(xp.stack(tops, axis=1), self.host)


def _by_row(ufunc: np.ufunc, block: Block, values: NDArray[np.float64], empty: float) -> NDArray[np.float64]:
    """Reduce what is stored in each row; `empty` where nothing is."""
    out = np.full(block.n_rows, empty)
    filled = np.diff(block.indptr) > 0
    if filled.any():
        out[filled] = ufunc.reduceat(values, block.indptr[:-1][filled])
    return out


class RowExtrema(ByRow):
    """Smallest and largest value of each row, `(2, n_rows)`, zeros that are not stored included."""

    def by_row(self) -> Sequence[np.ndarray]:
        return tuple(self.out)

    def prepare(self, matrix: OOMMatrix) -> None:
        self.out = np.zeros((2, matrix.shape[0]))

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        if block.fill_values.size:
            parts = [(dense.min(axis=1), dense.max(axis=1)) for _, dense in block.dense_rows()]
            low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
        else:
            low, high = (_by_row(f, block, block.values, 0.0) for f in (np.minimum, np.maximum))
            partly = np.diff(block.indptr) < block.n_columns
            low, high = np.where(partly, np.minimum(low, 0), low), np.where(partly, np.maximum(high, 0), high)
        partial[0, block.positions], partial[1, block.positions] = low, high


@implements(RowExtrema)
class ArrayRowExtrema(ArrayImplementation[None, np.ndarray]):
    """Array implementation of :class:`RowExtrema`."""

    takes_fill_values = False

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        partly = xp.diff(block.indptr) < block.n_columns
        out = []
        for name, start in (("minimum", np.inf), ("maximum", -np.inf)):
            ufunc = getattr(xp, name)
            found = xp.full(block.n_rows, start)
            ufunc.at(found, block.rows, block.values)
            out.append(xp.where(partly, ufunc(found, 0.0), found))
        # not all devices find what is not a number to be an extreme
        missing = add_up(xp, block.rows, xp.isnan(block.values).astype(np.float64), block.n_rows) > 0
        (low, high), positions = self.host, block.positions

        def write(values: NDArray[np.float64]) -> None:
            low[positions], high[positions] = values

        block.to_host(xp.where(missing, np.nan, xp.stack(out)), write)


class RowDeviations(ByRow):
    """Sum of the squared differences of each row's values from their mean, `(n_rows,)`."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self.out = np.zeros(matrix.shape[0])

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        if block.fill_values.size:
            squares = [((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for _, x in block.dense_rows()]
            partial[block.positions] = np.concatenate(squares)
            return
        lengths = np.diff(block.indptr)
        mean = _by_row(np.add, block, block.values, 0.0) / block.n_columns
        stored = (block.values - np.repeat(mean, lengths)) ** 2
        unstored = np.where(lengths < block.n_columns, (block.n_columns - lengths) * mean**2, 0)
        partial[block.positions] = _by_row(np.add, block, stored, 0.0) + unstored


@implements(RowDeviations)
class ArrayRowDeviations(ArrayImplementation[None, np.ndarray]):
    """Array implementation of :class:`RowDeviations`."""

    takes_fill_values = False

    def update(self, block: ArrayBlock) -> None:
        xp = self.xp
        unstored = block.n_columns - xp.diff(block.indptr)
        mean = block.row_sums(block.values) / block.n_columns
        squares = block.row_sums((block.values - mean[block.rows]) ** 2)
        # a full row may have any mean, also one that is not finite
        block.to_rows(squares + xp.where(unstored > 0, unstored * mean**2, 0.0), self.host)


@dataclass(frozen=True, slots=True)
class HighlyExpressedSpec:
    """Parameters of :class:`HighlyExpressed`.

    Parameters
    ----------
    max_fraction
        The fraction.
    dtype
        Dtype of the matrix, in which scanpy keeps totals.
    fills
        Whether zeros of the matrix become something else, so that zeros may be stored that express nothing.
    """

    max_fraction: float
    dtype: np.dtype
    fills: bool = False


class HighlyExpressed(Reduction):
    """Columns that hold more than a fraction of the total of some row, `(n_columns,)` booleans.

    Parameters
    ----------
    max_fraction
        The fraction.
    """

    spec: HighlyExpressedSpec

    def __init__(self, max_fraction: float) -> None:
        self.spec = HighlyExpressedSpec(max_fraction, np.dtype(np.float64))

    def prepare(self, matrix: OOMMatrix) -> None:
        self._n_columns = matrix.shape[1]
        self.spec = replace(self.spec, dtype=matrix.dtype, fills=matrix.chain.fill_values is not None)

    def partial(self) -> NDArray[np.bool_]:
        return np.zeros(self._n_columns, dtype=bool)

    def update(self, partial: NDArray[np.bool_], block: Block) -> None:
        values: np.ndarray = block.values
        rows: np.ndarray = block.row_of_entry()
        indices: np.ndarray = block.indices
        if block.fill_values.size:
            dense = block.toarray()
            rows, indices = np.nonzero(dense)
            values = dense[rows, indices]
        totals = np.bincount(rows, weights=values, minlength=block.n_rows).astype(self.spec.dtype)
        partial[indices[values > self.spec.max_fraction * totals.astype(np.float64)[rows]]] = True

    def merge(self, total: NDArray[np.bool_], partial: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return total | partial

    def result(self, total: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return total


@implements(HighlyExpressed)
class ArrayHighlyExpressed(ArraySums[HighlyExpressedSpec]):
    """Array implementation of :class:`HighlyExpressed`."""

    takes_fill_values = False

    def update(self, block: ArrayBlock) -> None:
        totals = block.row_sums(block.values).astype(self.spec.dtype).astype(np.float64)
        above = block.values > self.spec.max_fraction * totals[block.rows]
        if self.spec.fills:
            above &= block.values != 0
        self.scatter(self.partial, block.indices, above.astype(np.float64))

    def finish(self) -> NDArray[np.bool_]:
        return self.summed() > 0

    def workspace_nbytes(self) -> int:
        return 16 * self.matrix_shape[1]
