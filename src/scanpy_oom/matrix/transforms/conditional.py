"""Steps that change chosen values: those for which a condition holds, or those that are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .base import Transform, is_single
from .elementwise import Cast, Elementwise
from .instruction import Index, Instruction, Numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix

__all__ = ["Where", "as_value", "steps_since"]

_EXACT = 2**53
"""Up to this number, integers are exact in double precision."""


def as_value(value: object, dtype: np.dtype) -> np.number | None:
    """Return a number as an array of `dtype` holds it; `None` if a lazy step cannot, as of integers beyond 2**53.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an array of this type does not take it, as NumPy says.
    """
    held = np.empty(1, dtype)
    held[0] = value
    number: np.number = held[0]
    return None if dtype.kind in "iu" and abs(int(number)) > _EXACT else number


def _are_of_values(steps: Sequence[Transform]) -> bool:
    """Return whether what steps give for a value depends on nothing but this value."""
    return all(isinstance(step, Elementwise | Cast | Where) for step in steps)


def steps_since(before: OOMMatrix, after: OOMMatrix) -> tuple[Transform, ...] | None:
    """Return the steps from one matrix to another, if each makes a value of a value; else None."""
    same = after.source is before.source and after.selection is before.selection
    done, more = before.chain.transforms, after.chain.transforms
    if not same or len(more) < len(done) or any(a is not b for a, b in zip(done, more, strict=False)):
        return None
    steps = more[len(done) :]
    return steps if _are_of_values(steps) else None


@dataclass(frozen=True)
class Where(Transform):
    """One number in place of the values for which a condition holds.

    Parameters
    ----------
    condition
        What makes a boolean of a value: steps of which each depends on the value alone. Empty: all values.
    value
        The number, in the dtype of the matrix.
    keeps_zeros
        Whether zeros that are not stored stay zeros, whatever the condition says of them.
    """

    condition: tuple[Transform, ...]
    value: np.number
    keeps_zeros: bool = False

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        single, condition = is_single(dtype), list[Instruction]()
        for step in self.condition:
            condition += step.instructions(dtype)
            dtype = step.result_dtype(dtype)
        return [_Put(tuple(condition), self.value, single=single, keeps_zeros=self.keeps_zeros)]

    @property
    def is_uniform(self) -> bool:
        return True

    def __str__(self) -> str:
        condition = " ".join(str(step) for step in self.condition) or ("stored" if self.keeps_zeros else "any")
        return f"{self.value:g} where {condition}"


@dataclass(frozen=True, eq=False)
class _Put(Instruction):
    """A number in place of the values of which a condition makes something else than zero; of all without one."""

    condition: tuple[Instruction, ...]
    value: np.number

    def compute(self, xp: ModuleType, values: Numbers, rows: Index, columns: Index) -> Values:
        held = values
        for step in self.condition:
            held = step.apply(xp, held, rows, columns)
        holds = held != 0 if self.condition else xp.ones(values.shape, dtype=bool)
        return xp.where(holds, values.dtype.type(self.value), values)

    def lacking(self, xp: ModuleType) -> str:
        return "put"  # not verified on a GPU
