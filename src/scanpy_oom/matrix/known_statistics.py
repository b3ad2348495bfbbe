"""Row and column statistics that are known of a matrix, and what remains of them when it is subset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .oommatrix import OOMMatrix
    from .selection import Axis

__all__ = ["COLUMN_STATISTICS", "EXACT_BY_SUBTRACTION", "ROW_STATISTICS", "Remainder", "Statistics"]

ROW_STATISTICS = ("row_sum", "row_nnz", "row_npos")
COLUMN_STATISTICS = ("col_sum", "col_sumsq", "col_nnz", "col_npos")


EXACT_BY_SUBTRACTION = frozenset({"col_nnz", "col_npos"})
"""Whole numbers, whatever the values are."""


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """A matrix as what is left of one whose column statistics are known, when some rows are taken away.

    Parameters
    ----------
    base
        The larger matrix.
    rows, columns
        Positions in it that are left; None for all.
    """

    base: OOMMatrix
    rows: NDArray[np.intp]
    columns: Axis

    def take(self, rows: Axis, columns: Axis) -> Remainder:
        """Return what is left of the same matrix after a further selection."""
        all_columns = columns if self.columns is None else self.columns if columns is None else self.columns[columns]
        return Remainder(self.base, self.rows if rows is None else self.rows[rows], all_columns)

    def removed(self) -> NDArray[np.intp] | None:
        """Return the positions of the rows taken away; None if they are not few, or if rows that are left repeat."""
        left = np.zeros(self.base.shape[0], dtype=bool)
        left[self.rows] = True
        removed = np.flatnonzero(~left)
        return removed if removed.size + self.rows.size == left.size and 4 * removed.size <= left.size else None


@dataclass(slots=True, eq=False)
class Statistics:
    """Known statistics of one matrix, by name.

    `row_sum`, `row_nnz`, `row_npos`: sum, number of non-zeros and of positive values of each row, `(n_rows,)`.
    `col_sum`, `col_sumsq`, `col_nnz`, `col_npos`: the same of each column, with the sum of squares, `(n_columns,)`.
    `no_zeros`: whether none of the entries that are stored is zero; None if that is not known.
    """

    known: dict[str, NDArray[Any]] = field(default_factory=dict)
    remainder: Remainder | None = None
    no_zeros: bool | None = None

    def get(self, *names: str) -> tuple[NDArray[Any], ...] | None:
        """Return the named statistics, or None if one of them is not known."""
        if all(name in self.known for name in names):
            return tuple(self.known[name] for name in names)
        return None

    def take(self, rows: Axis, columns: Axis, of: OOMMatrix) -> Statistics:
        """Return what is known of a subset `of` the matrix: rows' statistics if all columns stay, columns' if all rows.

        Of columns of which rows are taken away, it is kept in mind from what they remain.
        """
        kept: dict[str, NDArray[Any]] = {}
        if columns is None:
            kept |= {k: v if rows is None else v[rows] for k, v in self.known.items() if k in ROW_STATISTICS}
        if rows is None:
            kept |= {k: v if columns is None else v[columns] for k, v in self.known.items() if k in COLUMN_STATISTICS}
        remainder = None if kept.keys() >= EXACT_BY_SUBTRACTION else self.remainder
        if rows is not None and self.known.keys() & EXACT_BY_SUBTRACTION:
            remainder = Remainder(of.without_remainder(), rows, columns)
        elif remainder is not None:
            remainder = remainder.take(rows, columns)
        return Statistics(kept, remainder, of.stores_no_zeros or None)

    def removed_rows(self, names: Sequence[str]) -> OOMMatrix | None:
        """Return the few rows from which alone the named statistics follow; None if they do not follow from such."""
        remainder = self.remainder
        if remainder is None or not EXACT_BY_SUBTRACTION.issuperset(names):
            return None
        removed = remainder.removed()
        if removed is None or remainder.base.statistics.get(*names) is None:
            return None
        return remainder.base.select(removed, remainder.columns)

    def keep(self, names: frozenset[str]) -> Statistics:
        """Return the named ones alone."""
        no_zeros = self.no_zeros if "row_nnz" in names else None
        return Statistics({k: v for k, v in self.known.items() if k in names}, no_zeros=no_zeros)
