"""Transforms that change no value, but the layout that a matrix would have in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..known_statistics import COLUMN_STATISTICS, ROW_STATISTICS
from .base import Transform

if TYPE_CHECKING:
    import numpy as np

    from .instruction import Instruction

__all__ = ["DropZeros", "HeldByRows", "InByteOrder"]


@dataclass(frozen=True)
class _SameValues(Transform):
    """A step that changes how values are held, and none of them."""

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


@dataclass(frozen=True)
class HeldByRows(_SameValues):
    """The same values by rows, of a matrix that scanpy, in memory, would hold by columns."""

    leaves_csr: ClassVar[bool] = True

    def __str__(self) -> str:
        return "by rows"


@dataclass(frozen=True)
class DropZeros(_SameValues):
    """Zeros that are stored are not stored any more."""

    @property
    def drops_zeros(self) -> bool:
        return True

    def __str__(self) -> str:
        return "eliminate_zeros"


@dataclass(frozen=True)
class InByteOrder(_SameValues):
    """The same values as an array whose bytes have another order than this machine's.

    Parameters
    ----------
    order
        As in :attr:`numpy.dtype.byteorder`.
    """

    order: Literal["<", ">", "=", "|"]

    def __str__(self) -> str:
        return f"bytes {self.order}"
