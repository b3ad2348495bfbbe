"""Division of rows by their totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import Transform, is_single
from .instruction import Call, Instruction, Numbers, SourceRows

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["NormalizeTotal", "RowTotals"]


@dataclass(eq=False)
class RowTotals:
    """Sums of the stored values of a source's rows, over some columns, found by whichever pass comes first.

    Parameters
    ----------
    values
        `(n_source_rows,)` float64, NaN where the sum is not known yet.
    counted
        `(n_source_columns,)` booleans; empty for all columns.
    zero_rows_reported
        Whether the warning about rows that sum to zero was given.
    """

    values: NDArray[np.float64]
    counted: NDArray[np.bool_]
    zero_rows_reported: bool = False

    def counts(self, columns: NDArray[np.bool_]) -> bool:
        """Return whether the sums are over these columns, `(n_source_columns,)` booleans."""
        return bool(columns.all()) if not self.counted.size else np.array_equal(self.counted, columns)


@dataclass(frozen=True, eq=False)
class NormalizeTotal(Transform):
    """Division of each row by its total over the columns of the moment, relative to `target_sum`.

    Parameters
    ----------
    totals
        Row totals, shared by all matrices that descend from this step.
    target_sum
        What rows sum to afterwards.
    """

    totals: RowTotals
    target_sum: float

    by_row: ClassVar[bool] = True
    leaves_csr: ClassVar[bool] = True

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return dtype

    def factors(self, source_rows: NDArray[np.intp] | slice, dtype: np.dtype) -> NDArray[np.floating]:
        """Totals relative to `target_sum`, `(n,)` of `dtype`, as scanpy's `norm_factor`."""
        # in the dtype of the data throughout, as scanpy divides
        return self.totals.values[source_rows].astype(dtype) / dtype.type(self.target_sum)

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        return [Call("divide", row=_Divisors(self, dtype), single=is_single(dtype))]

    def may_change_zeros(self) -> bool:
        with np.errstate(all="ignore"):
            # a total that is no number, or is not known yet
            return bool(np.isnan(self.totals.values / np.float64(self.target_sum)).any())

    @property
    def kept_statistics(self) -> frozenset[str]:
        vanish = not 0 < abs(self.target_sum) < np.inf or np.isinf(self.totals.values).any()
        return frozenset() if vanish else frozenset({"row_nnz", "col_nnz"})

    def __str__(self) -> str:
        return f"normalize_total {self.target_sum:g}"


@dataclass(frozen=True, eq=False)
class _Divisors(SourceRows):
    """Divisors of rows: the factors of a step, in some dtype, with ones for zeros."""

    step: NormalizeTotal
    dtype: np.dtype

    def at(self, source_rows: NDArray[np.intp]) -> Numbers:
        factors = self.step.factors(source_rows, self.dtype)
        return factors + (factors == 0)
