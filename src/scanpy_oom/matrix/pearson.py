"""Analytic Pearson residuals as a step of a chain: they depend on the sums of cells and genes alone.

Such a step leaves nothing sparse: a block is made dense where it applies, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from ..kernels import pearson_residuals
from .program import Instruction
from .transforms import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .selection import Axis

__all__ = ["PearsonResiduals"]


@dataclass(frozen=True, eq=False)
class PearsonResiduals(Transform):
    """Counts less what is expected, by the standard deviation that is expected, clipped.

    Parameters
    ----------
    cell_totals
        `(n_rows,)` sum of each cell.
    gene_sums
        `(n_columns,)` sum of each gene.
    grand_total
        Sum of all counts.
    theta
        Overdispersion.
    clip
        Bound of the absolute values. As in NumPy, its type counts: one of NumPy's floats makes float32 values float64,
        one of Python's does not.
    single
        Whether they are computed in single precision.
    """

    cell_totals: NDArray[np.float64]
    gene_sums: NDArray[np.float64]
    grand_total: float
    theta: float
    clip: float | np.floating
    single: bool

    fills: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        residuals = np.zeros(1, dtype=np.float32 if self.single else np.float64)
        return np.clip(residuals, -self.clip, self.clip).dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        single = self.result_dtype(dtype) == np.float32
        return [
            Instruction(self._residuals, matrix=self._totals_at, single=self.single),
            Instruction(np.maximum, scalar=-self.clip, single=single),
            Instruction(np.minimum, scalar=self.clip, single=single),
        ]

    def _totals_at(self, positions: slice | NDArray[np.intp]) -> NDArray[np.float64]:
        return self.cell_totals[positions]

    def _residuals(self, values: NDArray, cell_totals: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.empty(values.shape)
        given = values.astype(np.float64, copy=False)
        pearson_residuals(given, cell_totals, self.gene_sums, self.grand_total, self.theta, self.single, out)
        return out

    def take(self, rows: Axis, columns: Axis) -> Self:
        cells = self.cell_totals if rows is None else self.cell_totals[rows]
        genes = self.gene_sums if columns is None else self.gene_sums[columns]
        return replace(self, cell_totals=cells, gene_sums=genes)

    def makes_dense(self, *, was_dense: bool) -> bool:
        return True

    def __str__(self) -> str:
        return f"Pearson residuals (theta {self.theta:g})"
