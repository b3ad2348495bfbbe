"""A chain of transforms as a list of instructions, run on whatever values a block holds.

Running NumPy's own ufuncs in scanpy's dtypes makes values equal to scanpy's to the last bit. What makes it fast is
how few values are computed: counts below :data:`N_TABLE` are looked up in a table that is filled once a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from ...storage.abc import Values
    from .instruction import Index, Instruction, Numbers

__all__ = ["N_TABLE", "BlockProgram", "Place", "Program"]

N_TABLE = 32
"""Counts below this number are computed once a row: most entries of a count matrix are 1, 2 or 3."""

Place: TypeAlias = tuple[int, Literal["row", "only_rows"]]
"""The number of an instruction, and which of its parameters by row."""

_BY_ROW: tuple[Literal["row", "only_rows"], ...] = ("row", "only_rows")


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions of a whole matrix, from which the program of each block is cut.

    Parameters
    ----------
    instructions
        In the order in which they apply.
    single
        Whether the values that they are given are held in single precision.
    """

    instructions: tuple[Instruction, ...]
    single: bool

    def __len__(self) -> int:
        return len(self.instructions)

    @cached_property
    def _n_head(self) -> int:
        by_column = (k for k, i in enumerate(self.instructions) if i.column is not None)
        return next(by_column, len(self.instructions))

    @property
    def head(self) -> tuple[Instruction, ...]:
        """What leads, and gives one result a row and value."""
        return self.instructions[: self._n_head]

    @property
    def tail(self) -> tuple[Instruction, ...]:
        """What follows, from the first instruction that depends on the column."""
        return self.instructions[self._n_head :]

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        """The row masks of the instructions that have one, each `(n_rows,)`."""
        return [i.only_rows for i in self.instructions if i.only_rows is not None]

    def for_rows(self, positions: slice | NDArray[np.intp], source_rows: NDArray[np.intp]) -> BlockProgram:
        """Program for the rows at `positions` of the matrix, which are `source_rows` of its source."""
        instructions = tuple(i.for_rows(positions, source_rows) for i in self.instructions)
        return BlockProgram(instructions, self.single, source_rows.size)

    def on(self, xp: ModuleType) -> Program:
        """Return the same with its parameters by column in arrays of a package."""
        moved = (i if i.column is None else replace(i, column=xp.asarray(i.column)) for i in self.instructions)
        return replace(self, instructions=tuple(moved))

    def with_parameters(self, found: Mapping[Place, Values], n_rows: int, xp: ModuleType) -> BlockProgram:
        """Program for rows whose parameters are in arrays of a package: those of :meth:`BlockProgram.parameters`."""
        instructions = list(self.instructions)
        for (k, name), array in found.items():
            changes: dict[str, Any] = {name: array}
            instructions[k] = replace(instructions[k], **changes)
        return BlockProgram(tuple(instructions), self.single, n_rows, xp=xp, loops=False)

    def of_zeros(self, masks: NDArray[np.bool_], n_columns: int) -> NDArray[np.float64]:
        """Return what zeros become, `(n_classes, n_columns)`, for classes of rows.

        `masks` is `(n_masks, n_classes)`: the value of each row mask for each class.
        """
        n_classes = masks.shape[1]
        # whatever varies by row leaves a zero as it is, or is given it as a value that is stored
        ones, by_class = np.ones(n_classes, dtype=np.float32), iter(masks)
        instructions = tuple(
            replace(i, row=None if i.row is None else ones, only_rows=None if i.only_rows is None else next(by_class))
            for i in self.instructions
        )
        program = BlockProgram(instructions, self.single, n_classes, stored=False)
        return program.run_dense(np.zeros((n_classes, n_columns)))


@dataclass(frozen=True, eq=False)
class BlockProgram(Program):
    """A program with the parameters of the rows of one block.

    Parameters
    ----------
    n_rows
        Rows of the block.
    stored
        Whether the values that it is run on are stored, or zeros that are not.
    xp
        The package of arrays in which it runs.
    loops
        Whether compiled loops run what they can, which take NumPy's arrays.
    """

    n_rows: int
    stored: bool = True
    xp: ModuleType = np
    loops: bool = True

    def parameters(self) -> dict[Place, Values]:
        """Return all parameters by row, by their places."""
        found = {(k, name): getattr(i, name) for k, i in enumerate(self.instructions) for name in _BY_ROW}
        return {place: array for place, array in found.items() if array is not None}

    def changes_zeros(self) -> NDArray[np.bool_] | None:
        """Find the rows whose parameters make something else of zeros, `(n_rows,)`; None if no parameter may."""
        steps = [i for i in self.instructions if i.whole_rows and i.row is not None]
        if not steps:
            return None
        zeros, rows = np.zeros(self.n_rows), np.arange(self.n_rows)
        with np.errstate(all="ignore"):
            return np.any([step.apply(np, zeros, rows, None) != 0 for step in steps], axis=0)

    def run(
        self, values: Numbers, rows: Index, columns: Index = None, *, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float64]:
        """Run instructions on values at `rows` of the block and `columns` of the matrix (all three broadcast).

        Those from `start` to `stop` are run: all, unless told otherwise.
        """
        single = self.instructions[start - 1].single if start else self.single
        x = values.astype(np.float32) if single else values  # a block holds them in double precision
        with np.errstate(all="ignore"):  # infinities and NaN are results
            for step in self.instructions[start:stop]:
                x = step.apply(self.xp, x, rows, columns, stored=self.stored, loops=self.loops)
        return cast("NDArray[np.float64]", x.astype(np.float64, copy=False))

    def run_dense(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run all instructions on all values of the block, `(n_rows, n_columns)`."""
        n_rows, n_columns = values.shape
        return self.run(values, self.xp.arange(n_rows)[:, None], self.xp.arange(n_columns)[None, :])

    def run_head(self, values: Numbers, rows: Index) -> NDArray[np.float64]:
        """Run what leads on values at `rows` of the block."""
        return self.run(values, rows, stop=self._n_head)

    def run_tail(self, values: Numbers, rows: Index, columns: Index) -> NDArray[np.float64]:
        """Run what follows on values at `rows` of the block and `columns` of the matrix."""
        return self.run(values, rows, columns, start=self._n_head)

    @property
    def _varies(self) -> bool:
        """True if what leads depends on the row."""
        return any(step.varies for step in self.head)

    def table_pays(self, n_values: int) -> bool:
        """Return whether the table has fewer values to compute than there are."""
        return n_values > N_TABLE * (self.n_rows if self._varies else 1)

    def table(self) -> NDArray[np.float64]:
        """Return what the leading instructions make of 0, 1, ..., `(n_rows, N_TABLE)`; one row if all are alike."""
        n_rows = self.n_rows if self._varies else min(self.n_rows, 1)
        counts = np.broadcast_to(np.arange(N_TABLE, dtype=np.float64), (n_rows, N_TABLE))
        return self.run_head(counts, np.arange(n_rows)[:, None])
