"""Row and column statistics that are known of a matrix, and what remains of them when it is subset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .selection import Axis

__all__ = ["COLUMN_STATISTICS", "ROW_STATISTICS", "Statistics"]

ROW_STATISTICS = ("row_sum", "row_nnz", "row_npos")
COLUMN_STATISTICS = ("col_sum", "col_sumsq", "col_nnz", "col_npos")


@dataclass(slots=True, eq=False)
class Statistics:
    """Known statistics of one matrix, by name.

    `row_sum`, `row_nnz`, `row_npos`: sum, number of non-zeros and of positive values of each row, `(n_rows,)`.
    `col_sum`, `col_sumsq`, `col_nnz`, `col_npos`: the same of each column, with the sum of squares, `(n_columns,)`.
    """

    known: dict[str, NDArray] = field(default_factory=dict)

    def get(self, *names: str) -> tuple[NDArray, ...] | None:
        """Return the named statistics, or None if one of them is not known."""
        if all(name in self.known for name in names):
            return tuple(self.known[name] for name in names)
        return None

    def take(self, rows: Axis, columns: Axis) -> Statistics:
        """Return what is known of a subset: rows' statistics if all columns stay, columns' if all rows stay."""
        kept: dict[str, NDArray] = {}
        if columns is None:
            kept |= {k: v if rows is None else v[rows] for k, v in self.known.items() if k in ROW_STATISTICS}
        if rows is None:
            kept |= {k: v if columns is None else v[columns] for k, v in self.known.items() if k in COLUMN_STATISTICS}
        return Statistics(kept)

    def keep(self, names: frozenset[str]) -> Statistics:
        """Return the named ones alone."""
        return Statistics({k: v for k, v in self.known.items() if k in names})
