"""A chain of transforms over one source: its dtype, its instructions, and what it makes of zeros."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedOutOfMemory
from .program import Instruction, Program
from .transforms import NormalizeTotal, RowTotals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .selection import Axis
    from .transforms import Transform

__all__ = ["Background", "Chain"]


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What a chain makes of zeros: one value per column and class of rows.

    A matrix with a background is a sparse part plus, in each row, the background of the row's class: products
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
        """Whether scanpy, in memory, would hold the result as a dense array."""
        dense = self.source_dense
        for transform in self.transforms:
            dense = transform.makes_dense(was_dense=dense)
        return dense

    @cached_property
    def program(self) -> Program:
        """The steps as ufuncs."""
        steps: list[Instruction] = []
        dtype = self.source_dtype
        for transform in self.transforms:
            steps += transform.instructions(dtype)
            dtype = transform.result_dtype(dtype)
        return Program(steps, single=self.source_dtype == np.float32)

    @cached_property
    def totals(self) -> list[RowTotals]:
        """Row totals that a pass over the matrix must know, and fills where they are not known yet."""
        return [t.totals for t in self.transforms if isinstance(t, NormalizeTotal)]

    @cached_property
    def background(self) -> Background | None:
        """What zeros become; None if they stay zeros."""
        masks = self.program.masks
        if masks:
            distinct, row_class = np.unique(np.stack(masks), axis=1, return_inverse=True)
            row_class = row_class.reshape(-1).astype(np.int64)
        else:
            distinct, row_class = np.empty((0, 1), dtype=bool), np.empty(0, dtype=np.int64)
        values = self.program.of_zeros(distinct, self.shape[1])
        return Background(values, row_class) if values.any() else None

    def append(self, transform: Transform) -> Chain:
        """Add a step at the end.

        Raises
        ------
        UnsupportedOutOfMemory
            If the step varies by row on a matrix whose zeros have become other values: the result would have no
            sparse part any more.
        """
        if transform.by_row and self.background is not None:
            reason = "a step that varies by row, on a matrix that was centred before, leaves nothing sparse"
            raise UnsupportedOutOfMemory(reason)
        return Chain((*self.transforms, transform), self.source_dtype, self.shape, self.source_dense)

    def take(self, rows: Axis, columns: Axis) -> Chain:
        """Return the chain for a subset of rows and columns."""
        n_rows, n_columns = self.shape
        shape = (n_rows if rows is None else rows.size, n_columns if columns is None else columns.size)
        transforms = tuple(t.take(rows, columns) for t in self.transforms)
        return Chain(transforms, self.source_dtype, shape, self.source_dense)

    def __getstate__(self) -> dict:
        # derived values hold closures; they are made again where they are needed
        return {k: self.__dict__[k] for k in ("transforms", "source_dtype", "shape", "source_dense")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
