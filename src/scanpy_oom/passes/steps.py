"""The end of a chain, where values depend on their columns, as one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import STEPS, column_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..matrix.program import Instruction

__all__ = ["ColumnSteps"]

_STEPS = {getattr(np, name): k for k, name in enumerate(STEPS)}


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSteps:
    """Instructions with one operand a column, or one for all, of a few ufuncs: those of :func:`scanpy.pp.scale`.

    Each result is that of NumPy to the last bit, but for the sign of a zero that is compared with another: sums,
    differences, products and quotients of single-precision numbers are the same whether they are computed in single
    precision, or in double and rounded then (Figueroa, 1995).

    Parameters
    ----------
    steps, operands, single
        Arguments of :func:`~scanpy_oom.kernels.column_steps`.
    """

    steps: NDArray[np.int64]
    operands: NDArray[np.float64]
    single: NDArray[np.bool_]

    @classmethod
    def of(cls, instructions: Sequence[Instruction], n_columns: int, *, single: bool) -> ColumnSteps | None:
        """Return the loop for `instructions`, None if it is not made for them.

        `single` tells whether the values that they are given are held in single precision.
        """
        operands = np.empty((len(instructions), n_columns))
        held_single = single
        for row, instruction in zip(operands, instructions, strict=True):
            operand = _operand(instruction, single=held_single)
            if operand is None:
                return None
            row[:] = operand
            held_single = instruction.single
        steps = np.array([_STEPS[instruction.ufunc] for instruction in instructions], dtype=np.int64)
        return cls(steps, operands, np.array([instruction.single for instruction in instructions], dtype=bool))

    def run(self, values: NDArray[np.float64], indices: NDArray[np.int32]) -> None:
        """Replace `values`, which lie in columns `indices`."""
        column_steps(indices, self.steps, self.operands, self.single, values)


def _operand(instruction: Instruction, *, single: bool) -> NDArray[np.floating] | np.floating | None:
    """Return what an instruction takes with each value, as NumPy does; None if the loop has nothing of the kind."""
    operand = instruction.scalar if instruction.column is None else instruction.column
    others = (instruction.row, instruction.matrix, instruction.only_rows, instruction.given)
    unlike = instruction.reflected or instruction.keeps_zeros or any(other is not None for other in others)
    if operand is None or unlike or instruction.ufunc not in _STEPS:
        return None
    precision = np.float32 if single else np.float64
    if isinstance(operand, (int, float)) and not isinstance(operand, np.generic):
        operand = precision(operand)  # a number of Python's takes the type of the values
    common = np.result_type(operand, precision)
    if common not in (np.float32, np.float64):
        return None
    operand = np.asarray(operand, dtype=common)
    in_single = common == np.float32  # computed by NumPy
    return None if in_single and not instruction.single else operand
