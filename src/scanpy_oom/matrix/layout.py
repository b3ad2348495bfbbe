"""How a matrix would be held in memory, as a step of its chain that changes no value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .statistics import COLUMN_STATISTICS, ROW_STATISTICS
from .transforms import Transform

if TYPE_CHECKING:
    import numpy as np

    from .program import Instruction

__all__ = ["HeldByRows"]


@dataclass(frozen=True, eq=False)
class HeldByRows(Transform):
    """The same values by rows, of a matrix that scanpy, in memory, would hold by columns."""

    by_rows: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        return []

    @property
    def kept_statistics(self) -> frozenset[str]:
        return frozenset((*ROW_STATISTICS, *COLUMN_STATISTICS))

    @property
    def is_uniform(self) -> bool:
        return True

    def __str__(self) -> str:
        return "by rows"
