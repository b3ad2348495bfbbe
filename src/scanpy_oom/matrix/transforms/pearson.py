"""Analytic Pearson residuals as a step of a chain: they depend on the sums of cells and genes alone.

Such a step leaves nothing sparse: a block is made dense where it applies, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from .base import Transform, is_single, taken
from .instruction import Call, Index, Instruction, Numbers

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from ...storage.abc import Values
    from ..selection import Axis

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
        single = is_single(self.result_dtype(dtype))
        return [
            _Residuals(self.grand_total, self.theta, row=self.cell_totals, column=self.gene_sums, single=self.single),
            Call("maximum", -self.clip, single=single),
            Call("minimum", self.clip, single=single),
        ]

    def take(self, rows: Axis, columns: Axis) -> Self:
        cells, genes = taken(self.cell_totals, rows), taken(self.gene_sums, columns)
        return replace(self, cell_totals=cells, gene_sums=genes)

    def makes_dense(self, *, was_dense: bool) -> bool:
        return True

    def __str__(self) -> str:
        return f"Pearson residuals (theta {self.theta:g})"


@dataclass(frozen=True, eq=False)
class _Residuals(Instruction):
    """Residuals of all values of a block, not clipped, by the sums of their cells and genes.

    Parameters
    ----------
    grand_total, theta
        As of :class:`PearsonResiduals`.
    """

    grand_total: float
    theta: float

    def compute(self, xp: ModuleType, values: Numbers, rows: Index, columns: Index) -> Values:
        cells, genes = self.parameters
        dtype = np.dtype(np.float32 if self.single else np.float64)  # in which each step is rounded
        grand_total, theta = dtype.type(self.grand_total), dtype.type(self.theta)
        mu = cells.astype(dtype)[:, None] * genes.astype(dtype) / grand_total
        return (values.astype(dtype) - mu) / xp.sqrt(mu + mu * mu / theta)

    def compiled(self, values: Numbers) -> Values:
        from ...kernels import pearson_residuals  # with the compiler, which a file that is only opened does without

        out = np.empty(values.shape)
        given = values.astype(np.float64, copy=False)
        pearson_residuals(given, *self.parameters, self.grand_total, self.theta, self.single, out)
        return out
