"""A chain of transforms as a list of NumPy ufuncs, run on whatever values a block holds.

Running NumPy's own ufuncs in scanpy's dtypes makes values equal to scanpy's to the last bit. What makes it fast is
how few values are computed: counts below :data:`N_TABLE` are looked up in a table that is filled once a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_TABLE", "BlockProgram", "Instruction", "Program"]

N_TABLE = 32
"""Counts below this number are computed once a row: most entries of a count matrix are 1, 2 or 3."""

RowOperand = NDArray[np.floating] | Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""`(n_rows,)`, or a function of the rows' numbers in the source that gives their operands when a block needs them."""

MatrixOperand = Callable[[slice | NDArray[np.intp]], Any]
"""A function of the rows' positions that gives their operands, `(n, n_columns)`, or what these follow from."""


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """One elementwise operation.

    Parameters
    ----------
    ufunc
        What to do with the value and, where it takes two, one operand: a ufunc, or a function that works like one.
    scalar, row, column
        The operand: one for all, one a row, or one a column.
    matrix
        Or one a value, for values in dense blocks.
    only_rows
        If given, `(n_rows,)` booleans: other rows are left alone.
    single
        Whether the result is held in single precision.
    given
        Dtype in which the ufunc is given the values, if that is neither single nor double precision.
    reflected
        Whether the operand comes first.
    keeps_zeros
        Whether zeros stay zeros whatever the ufunc makes of them, as those that a sparse matrix does not store.
    """

    ufunc: Callable[..., NDArray]
    scalar: float | np.number | None = None
    row: RowOperand | None = None
    column: NDArray[np.floating] | None = None
    matrix: MatrixOperand | None = None
    only_rows: NDArray[np.bool_] | None = None
    single: bool = False
    given: np.dtype | None = None
    reflected: bool = False
    keeps_zeros: bool = False


class Program:
    """Instructions of a whole matrix, from which the program of each block is cut.

    Parameters
    ----------
    instructions
        In the order in which they apply.
    single
        Whether the values that they are given are held in single precision.
    """

    def __init__(self, instructions: list[Instruction], *, single: bool) -> None:
        self.instructions = instructions
        self.single = single
        by_column = [k for k, i in enumerate(instructions) if i.column is not None]
        n_head = by_column[0] if by_column else len(instructions)
        # what leads gives one result a row and value; what follows depends on the column too
        self.head, self.tail = instructions[:n_head], instructions[n_head:]

    def __len__(self) -> int:
        return len(self.instructions)

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        """The row masks of the instructions that have one, each `(n_rows,)`."""
        return [i.only_rows for i in self.instructions if i.only_rows is not None]

    def for_rows(self, positions: slice | NDArray[np.intp], source_rows: NDArray[np.intp]) -> BlockProgram:
        """Program for the rows at `positions` of the matrix, which are `source_rows` of its source."""

        def operand(row: RowOperand) -> NDArray[np.floating]:
            return row(source_rows) if callable(row) else row[positions]

        rows = {id(i): operand(i.row) for i in self.instructions if i.row is not None}
        masks = {id(i): i.only_rows[positions] for i in self.instructions if i.only_rows is not None}
        return BlockProgram(self, rows, masks, source_rows.size, positions)

    def of_zeros(self, masks: NDArray[np.bool_], n_columns: int) -> NDArray[np.float64]:
        """Return what zeros become, `(n_classes, n_columns)`, for classes of rows.

        `masks` is `(n_masks, n_classes)`: the value of each row mask for each class.
        """
        masked = [i for i in self.instructions if i.only_rows is not None]
        n_classes = masks.shape[1]
        # whatever varies by row leaves a zero as it is
        ones = {id(i): np.ones(n_classes, dtype=np.float32) for i in self.instructions if i.row is not None}
        program = BlockProgram(self, ones, {id(i): m for i, m in zip(masked, masks, strict=True)}, n_classes, slice(0))
        zeros = np.zeros((n_classes, n_columns))
        rows, columns = np.arange(n_classes)[:, None], np.arange(n_columns)[None, :]
        return program.run(zeros, self.instructions, rows, columns)


@dataclass(frozen=True, slots=True, eq=False)
class BlockProgram:
    """A program with the row operands of one block.

    Parameters
    ----------
    program
        The program of the whole matrix.
    rows, masks
        `(n_rows,)` operands and masks, by instruction.
    n_rows
        Rows of the block.
    positions
        Their positions in the matrix.
    """

    program: Program
    rows: dict[int, NDArray[np.floating]]
    masks: dict[int, NDArray[np.bool_]]
    n_rows: int
    positions: slice | NDArray[np.intp]

    def run_dense(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run all instructions on all values of the block, `(n_rows, n_columns)`."""
        n_rows, n_columns = values.shape
        return self.run(values, self.program.instructions, np.arange(n_rows)[:, None], np.arange(n_columns)[None, :])

    def run(
        self,
        values: NDArray[np.float64],
        instructions: list[Instruction],
        rows: NDArray[np.intp],
        columns: NDArray[np.integer] | None = None,
    ) -> NDArray[np.float64]:
        """Run `instructions` on values at `rows` of the block and `columns` of the matrix (all three broadcast)."""
        first = not instructions or instructions[0] is self.program.instructions[0]
        x: NDArray = values.astype(np.float32) if first and self.program.single else values
        with np.errstate(all="ignore"):  # infinities and NaN are results
            for instruction in instructions:
                x = self._step(x, instruction, rows, columns)
        return x.astype(np.float64, copy=False)

    def _step(
        self, x: NDArray, instruction: Instruction, rows: NDArray[np.intp], columns: NDArray[np.integer] | None
    ) -> NDArray:
        key = id(instruction)
        operand: Any = instruction.scalar
        if instruction.row is not None:
            operand = self.rows[key][rows]
        elif instruction.matrix is not None:
            operand = instruction.matrix(self.positions)
        elif instruction.column is not None:
            operand = instruction.column[columns]
        value = x if instruction.given is None else x.astype(instruction.given)
        operands = (value,) if operand is None else (operand, value) if instruction.reflected else (value, operand)
        new = instruction.ufunc(*operands).astype(np.float32 if instruction.single else np.float64, copy=False)
        if instruction.keeps_zeros:
            new = np.where(x == 0, np.zeros_like(new), new)
        return np.where(self.masks[key][rows], new, x) if key in self.masks else new

    def table(self) -> NDArray[np.float64]:
        """Return what the leading instructions make of 0, 1, ..., `(n_rows, N_TABLE)`; one row if all are alike."""
        head = self.program.head
        varies = any(id(i) in self.rows or id(i) in self.masks for i in head)
        n_rows = self.n_rows if varies else min(self.n_rows, 1)
        counts = np.broadcast_to(np.arange(N_TABLE, dtype=np.float64), (n_rows, N_TABLE))
        return self.run(counts, head, np.arange(n_rows)[:, None])
