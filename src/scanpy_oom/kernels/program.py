"""The little language in which a chain of transforms reaches the kernels.

A program is a list of instructions, one elementwise operation each, with at most one scalar operand and
one vector operand (by row or by column). It is data, not code: one compiled kernel runs every chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Instruction", "Instructions", "Op", "Program"]


class Op(IntEnum):
    """Elementwise operations that the kernels know."""

    LOG1P = 0
    EXPM1 = 1
    SQRT = 2
    SQUARE = 3
    ABS = 4
    SIGN = 5
    POWER = 6  # x ** scalar
    MULTIPLY = 7  # x * scalar
    DIVIDE = 8  # x / scalar
    MULTIPLY_ROW = 9
    DIVIDE_ROW = 10
    MULTIPLY_COLUMN = 11
    SUBTRACT_COLUMN = 12
    DIVIDE_COLUMN = 13
    CLIP_MAX = 14
    CLIP_MIN = 15
    GREATER = 16
    LESS = 17
    NOT_EQUAL = 18
    GREATER_EQUAL = 19
    LESS_EQUAL = 20
    EQUAL = 21
    TRUNCATE = 22  # towards zero, as a cast to an integer type
    NOOP = 23  # rounding alone


RowOperand = NDArray[np.float64] | Callable[[slice | NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]
"""`(n_rows,)`, or a function of positions and source rows that gives their operands when a block needs them."""


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """One elementwise operation.

    Parameters
    ----------
    op
        What to do.
    scalar
        Its scalar operand, where it has one.
    row, column
        Its vector operand, where it has one.
    only_rows
        If given, `(n_rows,)` booleans: other rows are left alone.
    single
        Whether the result is rounded to float32, as an operation on float32 arrays would.
    """

    op: Op
    scalar: float = 0.0
    row: RowOperand | None = None
    column: NDArray[np.float64] | None = None
    only_rows: NDArray[np.bool_] | None = None
    single: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Instructions packed into arrays, with the row operands of one block of rows.

    Attributes
    ----------
    ops, scalars, single
        `(n,)`: operations, scalar operands, rounding flags.
    row_operand, column_operand, row_mask
        `(n,)`: which row of the matrices below an instruction uses, or -1.
    rows, columns, masks
        Stacked operands, `(·, n_rows)`, `(·, n_columns)`, `(·, n_rows)`.
    first_column_op
        Number of leading instructions that depend on the value and its row alone.
    """

    ops: NDArray[np.int64]
    scalars: NDArray[np.float64]
    single: NDArray[np.bool_]
    row_operand: NDArray[np.int64]
    column_operand: NDArray[np.int64]
    row_mask: NDArray[np.int64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    masks: NDArray[np.bool_]
    first_column_op: int


class Instructions:
    """Instructions of a whole matrix, from which the program of each block is cut.

    Parameters
    ----------
    instructions
        In the order in which they apply.
    n_columns
        Columns of the matrix.
    """

    def __init__(self, instructions: list[Instruction], n_columns: int) -> None:
        self._list = instructions
        self._rows = [i.row for i in instructions if i.row is not None]
        self._masks = [i.only_rows for i in instructions if i.only_rows is not None]
        self._columns = np.empty((sum(i.column is not None for i in instructions), n_columns))
        columns = (i.column for i in instructions if i.column is not None)
        for k, column in enumerate(columns):
            self._columns[k] = column
        self._ops = np.array([int(i.op) for i in instructions], dtype=np.int64)
        self._scalars = np.array([i.scalar for i in instructions], dtype=np.float64)
        self._single = np.array([i.single for i in instructions], dtype=np.bool_)
        self._row_operand = _number([i.row is not None for i in instructions])
        self._column_operand = _number([i.column is not None for i in instructions])
        self._row_mask = _number([i.only_rows is not None for i in instructions])
        by_column = [k for k, i in enumerate(instructions) if i.column is not None]
        self._first_column_op = by_column[0] if by_column else len(instructions)

    def __len__(self) -> int:
        return len(self._list)

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        """The row masks of the instructions that have one, each `(n_rows,)`."""
        return self._masks

    def program(self, positions: slice | NDArray[np.intp], source_rows: NDArray[np.intp]) -> Program:
        """Program for the rows at `positions` of the matrix, which are `source_rows` of its source."""
        n_rows = source_rows.size
        rows = np.empty((len(self._rows), n_rows))
        for k, row in enumerate(self._rows):
            rows[k] = row(positions, source_rows) if callable(row) else row[positions]
        masks = np.empty((len(self._masks), n_rows), dtype=np.bool_)
        for k, mask in enumerate(self._masks):
            masks[k] = mask[positions]
        return self._packed(rows, masks)

    def program_for_zeros(self, masks: NDArray[np.bool_]) -> Program:
        """Program for one row of zeros a class, `masks` being `(n_masks, n_classes)`; row operands are ones."""
        return self._packed(np.ones((len(self._rows), masks.shape[1])), masks)

    def _packed(self, rows: NDArray[np.float64], masks: NDArray[np.bool_]) -> Program:
        return Program(
            ops=self._ops,
            scalars=self._scalars,
            single=self._single,
            row_operand=self._row_operand,
            column_operand=self._column_operand,
            row_mask=self._row_mask,
            rows=rows,
            columns=self._columns,
            masks=masks,
            first_column_op=self._first_column_op,
        )


def _number(has_operand: list[bool]) -> NDArray[np.int64]:
    """Number those that have an operand, -1 for the others."""
    has = np.array(has_operand, dtype=np.bool_)
    return np.where(has, np.cumsum(has) - 1, -1).astype(np.int64)
