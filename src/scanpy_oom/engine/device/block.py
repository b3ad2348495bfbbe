"""A block on a device: sent as it is stored, selected by the host, transformed where it arrives."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from numpy.typing import NDArray
    from scipy import sparse

    from ...storage.abc import Values
    from .device import Array, Device

__all__ = ["ArrayBlock"]


@dataclass
class ArrayBlock:
    """A :class:`~scanpy_oom.engine.block.Block` as arrays of a device.

    Parameters
    ----------
    device
        Where it is.
    positions
        Positions of the rows in the matrix, on the host.
    indptr, indices, values
        What is stored, row-compressed: int64, int32, float64.
    n_columns
        Columns of the matrix.
    fill_values
        `(n_classes, n_columns)` values where nothing is stored; None for zeros.
    row_class
        `(n_rows,)` class of each row; None if all are of class 0.
    """

    device: Device
    positions: slice | NDArray[np.intp]
    indptr: Array
    indices: Array
    values: Array
    n_columns: int
    fill_values: Array | None = None
    row_class: Array | None = None
    later: list[tuple[NDArray[Any], Callable[[NDArray[Any]], object]]] = field(default_factory=list)
    """Arrays on their way to the host, and the functions that take them there."""

    @property
    def xp(self) -> ModuleType:
        """The package of the arrays."""
        return self.device.xp

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.indptr.size) - 1

    @cached_property
    def rows(self) -> Array:
        """The row within the block of each stored entry."""
        return row_of_entry(self.xp, self.indptr, self.indices.size)

    def classes(self) -> Array:
        """Return the class of each row, also where there is but one."""
        return self.xp.zeros(self.n_rows, dtype=np.int64) if self.row_class is None else self.row_class

    @cached_property
    def sparse_part(self) -> Array:
        """The stored values less the fill values."""
        return self.values if self.fill_values is None else self.values - self.entry_fill_values()

    def entry_fill_values(self) -> Array:
        """Return the fill values at the place of each stored entry, where there is one."""
        return cast("Array", self.fill_values)[self.classes()[self.rows], self.indices]

    def csr(self, values: Array) -> sparse.csr_matrix:
        """Return a sparse matrix of the stored places with other values."""
        shape = (self.n_rows, self.n_columns)
        # CuPy's indices are all of 32 bits
        matrix = self.device.sparse.csr_matrix((values, self.indices, self.indptr.astype(np.int32)), shape=shape)
        matrix.has_canonical_format = True  # no place is stored twice, and CuPy would sort before each product
        return matrix

    def row_sums(self, values: Array) -> Array:
        """Add up values at the stored places by row."""
        return self.csr(values) @ self.xp.ones(self.n_columns)

    def toarray(self) -> Array:
        """Return all values, dense."""
        xp = self.xp
        shape = (self.n_rows, self.n_columns)
        dense = xp.zeros(shape) if self.fill_values is None else self.fill_values[self.classes()]
        dense[self.rows, self.indices] = self.values  # no place is stored twice
        return dense

    def filled(self) -> ArrayBlock:
        """Return the block with all its values stored."""
        return self.of_dense(self.toarray())

    def of_dense(self, values: Array) -> ArrayBlock:
        """Return a block of these rows that stores all of `values`."""
        xp, (n_rows, n_columns) = self.xp, values.shape
        indptr = xp.arange(n_rows + 1, dtype=np.int64) * n_columns
        indices = xp.tile(xp.arange(n_columns, dtype=np.int32), n_rows)
        return ArrayBlock(self.device, self.positions, indptr, indices, values.reshape(-1), n_columns, later=self.later)

    def of_rows(self, by_row: Values) -> Array:
        """Return what a host array, one row for each of the matrix, holds for the rows of the block."""
        return self.xp.asarray(np.ascontiguousarray(by_row[self.positions]))

    def to_host(self, array: Array, use: Callable[[NDArray[Any]], object]) -> None:
        """Copy an array to the host, and do something with it once it is there."""
        self.later.append((self.device.fetch(array), use))

    def to_rows(self, array: Array, out: Values) -> None:
        """Write one result a row to where it belongs on the host."""
        positions = self.positions
        self.to_host(array, lambda found: out.__setitem__(positions, found))

    def halves(self) -> Iterator[ArrayBlock]:
        """Yield the first and the second half of the rows."""
        return self.parts(-(-self.n_rows // 2))

    def parts(self, n_rows: int) -> Iterator[ArrayBlock]:
        """Yield the rows, so many at a time."""
        for start in range(0, self.n_rows, n_rows):
            yield self._part(start, min(start + n_rows, self.n_rows))

    def _part(self, start: int, stop: int) -> ArrayBlock:
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        positions = self.positions
        if isinstance(positions, slice):
            positions = slice(positions.start + start, positions.start + stop)
        else:
            positions = positions[start:stop]
        return ArrayBlock(
            self.device,
            positions,
            self.indptr[start : stop + 1] - first,
            self.indices[first:last],
            self.values[first:last],
            self.n_columns,
            self.fill_values,
            None if self.row_class is None else self.row_class[start:stop],
            self.later,
        )


def row_of_entry(xp: ModuleType, indptr: Array, n: int) -> Array:
    """Return the row of each of `n` stored entries."""
    return xp.searchsorted(indptr, xp.arange(n, dtype=np.int64), side="right") - 1
