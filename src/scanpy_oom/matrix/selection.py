"""Selections: rows and columns of a source that a matrix shows, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "Selection", "normalize_axis_index"]

type_index = np.intp
Axis = NDArray[np.intp] | None
"""Positions along one axis, or None for all of them in order."""


def normalize_axis_index(index: object, n: int) -> Axis:
    """Turn a slice, mask, or array of positions along an axis of length `n` into positions.

    Raises
    ------
    IndexError
        If a mask has another length or a position is out of range.
    """
    if isinstance(index, slice):
        if index == slice(None):
            return None
        positions = np.arange(*index.indices(n), dtype=type_index)
        return None if positions.size == n and index.step in (None, 1) else positions
    positions = np.asarray(index)
    if positions.ndim != 1:
        positions = positions.reshape(-1)
    if positions.dtype == bool:
        if positions.size != n:
            msg = f"A mask of length {positions.size} does not fit an axis of length {n}."
            raise IndexError(msg)
        return None if positions.all() else np.flatnonzero(positions)
    if positions.size == 0:
        return np.empty(0, dtype=type_index)
    if positions.dtype.kind not in "iu":
        msg = f"Positions must be integers or booleans, not {positions.dtype}."
        raise IndexError(msg)
    positions = positions.astype(type_index)
    lowest, highest = positions.min(), positions.max()
    if lowest < -n or highest >= n:
        msg = f"Position {int(lowest if lowest < -n else highest)} is out of range for an axis of length {n}."
        raise IndexError(msg)
    return np.where(positions < 0, positions + n, positions) if lowest < 0 else positions


def _compose(outer: Axis, inner: Axis) -> Axis:
    if inner is None:
        return outer
    return inner if outer is None else outer[inner]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """One composed selection: a view of a view is never a nest.

    Parameters
    ----------
    rows, columns
        Row and column numbers of the source, `None` for all of them.
    source_shape
        Shape of the source.
    """

    rows: Axis
    columns: Axis
    source_shape: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns that are shown."""
        n_rows, n_columns = self.source_shape
        return (
            n_rows if self.rows is None else self.rows.size,
            n_columns if self.columns is None else self.columns.size,
        )

    def take(self, rows: Axis, columns: Axis) -> Selection:
        """Select further, by positions within this selection."""
        return Selection(_compose(self.rows, rows), _compose(self.columns, columns), self.source_shape)

    def source_rows(self, positions: slice | NDArray[np.intp]) -> NDArray[np.intp]:
        """Row numbers of the source at `positions`."""
        if self.rows is not None:
            return self.rows[positions]
        if isinstance(positions, slice):
            return np.arange(*positions.indices(self.source_shape[0]), dtype=type_index)
        return positions

    @property
    def repeats_columns(self) -> bool:
        """True if a column is shown more than once."""
        return self.columns is not None and np.unique(self.columns).size != self.columns.size
