"""``X[rows, columns]``: values in memory, in the shape and type that SciPy or NumPy gives."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..protocol import engine
from ..selection import normalize_axis_index
from .in_memory import InMemory, as_held, run_in_memory, sparse_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix
    from .base import Held

__all__ = ["take_values"]


def _unpack(index: object) -> tuple[Any, Any]:
    index = _parts(index)
    if sum(part is Ellipsis for part in index) > 1:
        msg = "an index can only have a single ellipsis ('...')"
        raise IndexError(msg)
    if len(index) == 1:
        return (slice(None) if index[0] is Ellipsis else index[0]), slice(None)
    if len(index) == 3:
        index = tuple(part for part in index if part is not Ellipsis)
    if len(index) != 2:
        msg = f"A matrix takes two indices, not {len(index)}."
        raise IndexError(msg)
    row, column = (slice(None) if part is Ellipsis else part for part in index)
    return row, column


def _parts(index: object) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_integer(part: object) -> bool:
    if isinstance(part, np.ndarray) and part.ndim == 0:
        return part.dtype.kind in "iu"
    return isinstance(part, Integral) and not isinstance(part, bool | np.bool_)


def _is_mask(index: object) -> bool:
    """Return whether an index tells of each value whether it is wanted."""
    return isinstance(index, np.ndarray) and index.ndim == 2 and index.dtype == bool


def take_values(matrix: OOMMatrix, index: object) -> Held | np.number:
    """Bring the indexed values into memory.

    Returns a SciPy CSR matrix (a NumPy array where the matrix is dense), or a number for two integers.

    Raises
    ------
    MemoryBudgetExceeded
        If they take more than ``settings.memory_limit``.
    IndexError
        If a position is out of range or a mask of another length.
    """
    if isinstance(index, InMemory) or sparse.issparse(index) or _is_mask(index):
        return run_in_memory(lambda values, mask: values[mask], "X[mask]", matrix, index)
    if any(part is None or isinstance(part, bool | np.bool_) for part in _parts(index)):
        # NumPy adds a dimension, SciPy takes these for numbers, or for nothing
        return run_in_memory(lambda values: values[index], "X[...]", matrix)
    row, column = _unpack(index)
    integers = _is_integer(row), _is_integer(column)
    dimensions = _n_dimensions(row), _n_dimensions(column)
    if max(dimensions) > 1 and any(isinstance(part, slice) for part in (row, column)):
        if not matrix.is_dense:
            msg = "index results in >2 dimensions"
            raise IndexError(msg)
        return run_in_memory(lambda values: values[row, column], "X[...]", matrix)
    if (max(dimensions) > 1 or not any(integers)) and _are_pairs(row, column):
        if max(dimensions) > 2 and not matrix.is_dense:
            msg = "Index dimension must be 1 or 2"
            raise IndexError(msg)
        return _take_pairs(matrix, np.asarray(row), np.asarray(column))
    rows = normalize_axis_index([row] if integers[0] else row, matrix.shape[0])
    columns = normalize_axis_index([column] if integers[1] else column, matrix.shape[1])
    values = as_held(matrix, engine().collect(matrix.select(rows, columns), dense=matrix.is_dense, what="X[...]"))
    if all(integers):
        return values[0, 0]
    if not any(integers) or not (matrix.is_dense or sparse_arrays(matrix)):
        return values
    return values[0] if integers[0] else values[:, 0]


def _n_dimensions(part: slice | ArrayLike) -> int:
    return 1 if isinstance(part, slice) else np.ndim(part)


def _are_pairs(row: slice | ArrayLike, column: slice | ArrayLike) -> bool:
    """Return whether two arrays of positions mean single places, as in NumPy, and not a grid."""
    if isinstance(row, slice) or isinstance(column, slice):
        return False
    of_rows, of_columns = np.shape(row), np.shape(column)
    by_row = len(of_rows) == 2 and of_rows[1] == 1
    by_column = len(of_columns) == 1 or (len(of_columns) == 2 and of_columns[0] == 1)
    return not (by_row and by_column)


def _take_pairs(matrix: OOMMatrix, row: Values, column: Values) -> sparse.csr_matrix | Values:
    rows, columns = _places(row, matrix.shape[0]), _places(column, matrix.shape[1])
    try:
        rows, columns = np.broadcast_arrays(rows, columns)
    except ValueError as error:
        msg = f"positions of shape {rows.shape} do not go with positions of shape {columns.shape}"
        raise IndexError(msg) from error
    unique_rows, at_row = np.unique(rows, return_inverse=True)
    unique_columns, at_column = np.unique(columns, return_inverse=True)
    chosen = matrix.select(unique_rows, unique_columns)
    grid = as_held(matrix, engine().collect(chosen, dense=matrix.is_dense, what="X[...]"))
    return grid[at_row.reshape(rows.shape), at_column.reshape(rows.shape)]


def _places(index: Values, n: int) -> NDArray[np.intp]:
    """Return positions on an axis of length `n`, none from the end, in the shape in which they are given."""
    positions = normalize_axis_index(index.reshape(-1), n)
    positions = np.arange(n) if positions is None else positions
    return positions if index.dtype == bool else positions.reshape(index.shape)
