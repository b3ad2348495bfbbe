"""A chain of transforms over one source: its dtype, its instructions, and what it makes of zeros."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedOutOfMemory
from .program import Instruction, Program
from .transforms import NormalizeTotal, RowTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        """The steps as ufuncs, up to the first that fills."""
        return _program(self.transforms[: self._n_sparse], self.source_dtype)

    @cached_property
    def filling(self) -> Program | None:
        """The steps from the first that fills, for dense blocks of what :attr:`program` gives; None without one."""
        if self._n_sparse == len(self.transforms):
            return None
        before = replace(self, transforms=self.transforms[: self._n_sparse])
        return _program(self.transforms[self._n_sparse :], before.dtype)

    @cached_property
    def _n_sparse(self) -> int:
        """How many steps come before the first that fills.

        One that makes zeros infinite or no number counts as such: sums and products have no corrections for these.
        """
        fills = [k for k, transform in enumerate(self.transforms) if transform.fills]
        n = fills[0] if fills else len(self.transforms)
        while n and not np.isfinite(self._of_zeros(_program(self.transforms[:n], self.source_dtype)).values).all():
            n -= 1
        return n

    @cached_property
    def drops_zeros(self) -> bool:
        """Whether what became zero is not stored any more, as after SciPy's comparisons."""
        return any(transform.drops_zeros for transform in self.transforms)

    @cached_property
    def totals(self) -> list[RowTotals]:
        """Row totals that a pass over the matrix must know, and fills where they are not known yet."""
        return [t.totals for t in self.transforms if isinstance(t, NormalizeTotal)]

    @cached_property
    def background(self) -> Background | None:
        """What zeros become; None if they stay zeros, or if the chain fills them."""
        return None if self.filling is not None else self.background_before_filling

    @cached_property
    def background_before_filling(self) -> Background | None:
        """What :attr:`program` makes of zeros; None if they stay zeros."""
        background = self._of_zeros(self.program)
        return background if background.values.any() else None

    def _of_zeros(self, program: Program) -> Background:
        if program.masks:
            distinct, row_class = np.unique(np.stack(program.masks), axis=1, return_inverse=True)
            row_class = row_class.reshape(-1).astype(np.int64)
        else:
            distinct, row_class = np.empty((0, 1), dtype=bool), np.empty(0, dtype=np.int64)
        return Background(program.of_zeros(distinct, self.shape[1]), row_class)

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

    def least_entries(self) -> int:
        """Return how many entries a row has at least, once a block is transformed."""
        return 0 if self.filling is None else self.shape[1]

    def __getstate__(self) -> dict:
        # derived values hold closures; they are made again where they are needed
        return {k: self.__dict__[k] for k in ("transforms", "source_dtype", "shape", "source_dense")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)


def _program(transforms: Sequence[Transform], dtype: np.dtype) -> Program:
    """Return the instructions of some steps, for values of `dtype`."""
    single = dtype == np.float32
    steps: list[Instruction] = []
    for transform in transforms:
        steps += transform.instructions(dtype)
        dtype = transform.result_dtype(dtype)
    return Program(steps, single=single)
