"""Results by row, which need no merging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.reduction import Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["ByRow"]


class ByRow(Reduction):
    """Writes results by row, to one array that is the partial result of every task."""

    out: np.ndarray
    """The array, which `prepare` allocates."""

    def partial(self) -> np.ndarray:
        return self.out

    def by_row(self) -> Sequence[np.ndarray]:
        return (self.out,)

    def pack(self, partial: np.ndarray) -> None:
        return None

    def unpack(self, packed: None) -> np.ndarray:
        return self.out

    def merge(self, total: np.ndarray, partial: np.ndarray) -> np.ndarray:
        return total

    def result(self, total: np.ndarray) -> np.ndarray:
        return total
