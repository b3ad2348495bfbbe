"""The end of a chain, where values depend on their columns, as one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import STEPS, column_steps
from ..matrix.transforms.instruction import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..matrix.transforms.instruction import Instruction

__all__ = ["ColumnSteps"]

_OPCODES = {name: k for k, name in enumerate(STEPS)}


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
        steps, operands = np.empty(len(instructions), np.int64), np.empty((len(instructions), n_columns))
        held_single = single
        for k, instruction in enumerate(instructions):
            if not isinstance(instruction, Call) or (operand := _operand(instruction, single=held_single)) is None:
                return None
            steps[k], operands[k] = _OPCODES[instruction.ufunc], operand
            held_single = instruction.single
        return cls(steps, operands, np.array([instruction.single for instruction in instructions], dtype=bool))

    def run(self, values: NDArray[np.float64], indices: NDArray[np.int32]) -> None:
        """Replace `values`, which lie in columns `indices`."""
        column_steps(indices, self.steps, self.operands, self.single, values)


def _operand(call: Call, *, single: bool) -> NDArray[np.number] | None:
    """Return what a ufunc takes with each value, as NumPy does; None if the loop has nothing of the kind."""
    operand = call.scalar if call.column is None else call.column
    if operand is None or call.varies or call.given or call.reflected or call.ufunc not in _OPCODES:
        return None
    precision = np.float32 if single else np.float64
    if isinstance(operand, (int, float)) and not isinstance(operand, np.generic):
        operand = precision(operand)  # a number of Python's takes the type of the values
    common = np.result_type(operand, precision)
    if common not in (np.float32, np.float64):
        return None
    operand = np.asarray(operand, dtype=common)
    in_single = common == np.float32  # computed by NumPy
    return None if in_single and not call.single else operand
