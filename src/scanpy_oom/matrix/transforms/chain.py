"""A chain of transforms over one source: its dtype, its instructions, and what it makes of zeros."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UnsupportedOutOfMemory
from .normalize import NormalizeTotal, RowTotals
from .program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..selection import Axis
    from .base import Transform
    from .instruction import Instruction

__all__ = ["Chain", "FillValues"]


@dataclass(frozen=True, slots=True, eq=False)
class FillValues:
    """Fill values of a chain: one per column and class of rows.

    A matrix with fill values is a sparse part plus, in each row, the fill values of the row's class: products
    and sums follow from the sparse part and corrections of low rank.

    Parameters
    ----------
    values
        `(n_classes, n_columns)` float64.
    row_class
        `(n_rows,)` class numbers; empty if all rows are of class 0.
    """

    values: NDArray[np.float64]
    row_class: NDArray[np.int64]

    def class_counts(self, n_rows: int) -> NDArray[np.int64]:
        """Return the number of rows of each class."""
        if self.row_class.size == 0:
            return np.array([n_rows])
        return np.bincount(self.row_class, minlength=self.values.shape[0])

    def classes(self, positions: slice | NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the classes of the rows at `positions`; empty if all are of class 0."""
        return self.row_class if self.row_class.size == 0 else self.row_class[positions]


@dataclass(frozen=True, eq=False)
class Chain:
    """Transforms in the order in which they apply.

    Parameters
    ----------
    transforms
        The steps.
    source_dtype
        Dtype of what the source stores.
    shape
        Shape of the matrix to which the row and column parameters belong.
    source_dense
        Whether the source is a dense array in memory's terms.
    """

    transforms: tuple[Transform, ...]
    source_dtype: np.dtype
    shape: tuple[int, int]
    source_dense: bool = False

    @cached_property
    def dtype(self) -> np.dtype:
        """Dtype of the result."""
        dtype = self.source_dtype
        for transform in self.transforms:
            dtype = transform.result_dtype(dtype)
        return dtype

    @cached_property
    def dense(self) -> bool:
        """True if scanpy, in memory, would hold the result as a dense array."""
        dense = self.source_dense
        for transform in self.transforms:
            dense = transform.makes_dense(was_dense=dense)
        return dense

    @cached_property
    def program(self) -> Program:
        """The steps as instructions, up to the first that fills."""
        return self._program_of(self._n_sparse)

    @cached_property
    def filling(self) -> Program | None:
        """The steps from the first that fills, for dense blocks of what :attr:`program` gives; None without one."""
        if self._n_sparse == len(self.transforms):
            return None
        before = replace(self, transforms=self.transforms[: self._n_sparse])
        return _program(self.transforms[self._n_sparse :], before.dtype, dense=before.dense)

    @property
    def programs(self) -> list[Program]:
        """:attr:`program`, and :attr:`filling` where there is one."""
        return [self.program] if self.filling is None else [self.program, self.filling]

    def _program_of(self, n: int) -> Program:
        """Return the first steps as instructions."""
        return _program(self.transforms[:n], self.source_dtype, dense=self.source_dense)

    @cached_property
    def _n_sparse(self) -> int:
        """Count of steps before the first that densifies.

        One that makes zeros infinite or no number counts as such: sums and products have no corrections for these.
        """
        fills = [k for k, transform in enumerate(self.transforms) if transform.fills]
        n = fills[0] if fills else len(self.transforms)
        while n and not np.isfinite(self._of_zeros(self._program_of(n)).values).all():
            n -= 1
        return n

    @cached_property
    def drops_zeros(self) -> bool:
        """True if what became zero is not stored any more, as after SciPy's comparisons."""
        return any(transform.drops_zeros for transform in self.transforms)

    @cached_property
    def totals(self) -> list[RowTotals]:
        """Row totals that a pass over the matrix must know, and fills where they are not known yet."""
        return [t.totals for t in self.transforms if isinstance(t, NormalizeTotal)]

    @cached_property
    def fill_values(self) -> FillValues | None:
        """Values that zeros become; None if they stay zeros, or if the chain densifies."""
        return None if self.filling is not None else self.fill_values_before_filling

    @cached_property
    def fill_values_before_filling(self) -> FillValues | None:
        """Values that :attr:`program` makes of zeros; None if they stay zeros."""
        fill_values = self._of_zeros(self.program)
        return fill_values if fill_values.values.any() else None

    def _of_zeros(self, program: Program) -> FillValues:
        if program.masks:
            distinct, row_class = np.unique(np.stack(program.masks), axis=1, return_inverse=True)
            row_class = row_class.reshape(-1).astype(np.int64)
        else:
            distinct, row_class = np.empty((0, 1), dtype=bool), np.empty(0, dtype=np.int64)
        return FillValues(program.of_zeros(distinct, self.shape[1]), row_class)

    def append(self, transform: Transform) -> Chain:
        """Add a step at the end.

        Raises
        ------
        UnsupportedOutOfMemory
            If the step varies by row on a matrix whose zeros have become other values: the result would have no
            sparse part any more.
        """
        if transform.by_row and self.fill_values is not None:
            reason = "a row-wise step after centring makes the matrix dense"
            raise UnsupportedOutOfMemory(reason)
        return Chain((*self.transforms, transform), self.source_dtype, self.shape, self.source_dense)

    def take(self, rows: Axis, columns: Axis) -> Chain:
        """Return the chain for a subset of rows and columns."""
        n_rows, n_columns = self.shape
        shape = (n_rows if rows is None else rows.size, n_columns if columns is None else columns.size)
        transforms = tuple(t.take(rows, columns) for t in self.transforms)
        return Chain(transforms, self.source_dtype, shape, self.source_dense)

    def least_entries(self) -> int:
        """Return how many entries a row has at least, once a block is transformed, or may have."""
        return 0 if self.filling is None and not self.may_change_zeros else self.shape[1]

    @property
    def may_change_zeros(self) -> bool:
        """True if zeros of some rows of an array may become others by what is known of these rows, or is not yet."""
        dense = self.source_dense
        for transform in self.transforms:
            if transform.by_row and dense and transform.may_change_zeros():
                return True
            dense = transform.makes_dense(was_dense=dense)
        return False

    def __getstate__(self) -> dict[str, object]:
        # without derived values, which are made again where they are needed
        return {field.name: self.__dict__[field.name] for field in fields(self)}


def _program(transforms: Sequence[Transform], dtype: np.dtype, *, dense: bool) -> Program:
    """Return the instructions of some steps, for values of `dtype` that are held in an array where they are `dense`."""
    single = dtype == np.float32
    steps: list[Instruction] = []
    for transform in transforms:
        these = transform.instructions(dtype)
        steps += [replace(step, whole_rows=True) for step in these] if transform.by_row and dense else these
        dtype, dense = transform.result_dtype(dtype), transform.makes_dense(was_dense=dense)
    return Program(tuple(steps), single)
