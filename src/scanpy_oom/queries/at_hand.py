"""Values that take no pass, since what is stored is at hand: without what only a pass needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..engine.block import BlockReader
from ..engine.budget import BYTES_PER_ENTRY, fits_as_it_is
from ..engine.cache.columns import StoredColumn, recent_columns, within
from ..engine.cache.policy import missing_totals
from ..engine.cache.rows import rows_at_hand
from ..engine.column_selector import ColumnChoice
from ..engine.partition import Rows
from ..engine.runtime import pass_log
from ..kernels import count_before, is_increasing
from ..memory.ledger import ACCOUNTANT
from ..storage.sources.base import CSRBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..reductions.collect import CollectDense, CollectSparse

NO_MATTER = 2**24
"""Bytes that a column may take which is read from where it lies, whatever the limit is."""

_OFFSET = 8
"""Bytes of where a row starts, and of the number of a column."""

__all__ = ["values_at_hand", "values_of_rows"]


def values_at_hand(matrix: OOMMatrix, *, dense: bool) -> sparse.csr_matrix | np.ndarray | None:
    """Return the values of a matrix of one column; None if what it stores is not at hand, or takes more than a look."""
    columns = matrix.selection.columns
    if columns is None or columns.size != 1 or not matrix.shape[0]:
        return None
    chain, rows = matrix.chain, matrix.selection.rows
    if chain.transforms and not _is_plain(matrix):
        return None
    if rows is not None and rows.size > 1 and not (np.diff(rows) > 0).all():
        return None
    if not fits_as_it_is(matrix.shape[0] * (matrix.dtype.itemsize + _OFFSET)):
        return None
    column = _column(matrix, columns)
    if column is None:
        return None
    matrix.source.check_open()
    positions, stored = column.rows, column.values
    if rows is not None:
        positions, stored = within(column, rows)
    values = _transformed(matrix, positions, stored)
    if chain.drops_zeros:
        positions, values = positions[values != 0], values[values != 0]
    out = _dense(matrix, positions, values) if dense else _sparse(matrix, positions, values)
    ACCOUNTANT.hold(out, "results", _nbytes(out))
    return out


def _column(matrix: OOMMatrix, columns: NDArray[np.intp]) -> StoredColumn | None:
    """Return what one column stores, if it is at hand, or the file stores it side by side."""
    found = recent_columns(matrix, columns)
    if found is not None:
        return found[0]
    source, (j,) = matrix.source, columns
    offsets = source.column_offsets() if source.supports_columns else None
    if offsets is None or int(offsets[j + 1] - offsets[j]) * BYTES_PER_ENTRY > NO_MATTER:
        return None
    before = source.bytes_read
    stored = source.read_columns(columns)
    pass_log.add_bytes(source.bytes_read - before)
    # entries for one place are to be added up
    if stored is None or not is_increasing(stored.indptr.astype(np.int64), stored.indices):
        return None
    return StoredColumn(stored.indices, stored.data)


def values_of_rows(
    matrix: OOMMatrix, reduction: CollectSparse | CollectDense, cache_all: Callable[[], None]
) -> sparse.csr_matrix | np.ndarray | None:
    """Return the values of a matrix of few rows; None if there is a copy of few columns to read from.

    Parameters
    ----------
    matrix
        The rows.
    reduction
        What makes one thing of the values.
    cache_all
        As :func:`rows_at_hand` has it.
    """
    raw = rows_at_hand(matrix, cache_all)
    if raw is None:
        return None
    n = matrix.shape[0]
    reduction.check_room(matrix)
    reduction.prepare(matrix)
    partial: Any = reduction.partial()
    reader = BlockReader(matrix)
    rows = Rows(0, slice(0, n), matrix.selection.source_rows(slice(0, n)))
    reader.complete_totals(raw, rows)
    reduction.update(partial, reader.read(ColumnChoice(matrix.selection, None).select(raw), rows))
    return reduction.result(partial)


def _is_plain(matrix: OOMMatrix) -> bool:
    """Return whether values follow from what is stored at their place, and zeros stay zeros."""
    chain = matrix.chain
    keeps_zeros = chain.filling is None and chain.fill_values is None and not chain.may_change_zeros
    return keeps_zeros and not missing_totals(matrix)


def _transformed(matrix: OOMMatrix, positions: NDArray[np.integer], stored: np.ndarray) -> np.ndarray:
    """Run the chain on what is stored at some positions of the rows."""
    if not matrix.chain.transforms:
        return stored
    places = positions.astype(np.intp)
    n = places.size
    block = CSRBlock(np.arange(n + 1), np.zeros(n, dtype=np.int32), stored.astype(np.float64, copy=False))
    rows = Rows(0, places, matrix.selection.source_rows(places))
    return BlockReader(matrix).read(block, rows).values


def _sparse(matrix: OOMMatrix, positions: NDArray[np.integer], values: np.ndarray) -> sparse.csr_matrix:
    n = matrix.shape[0]
    indptr = np.empty(n + 1, dtype=np.int32)
    count_before(positions.astype(np.int32, copy=False), indptr)
    indices = np.zeros(values.size, dtype=np.int32)
    return sparse.csr_matrix((values.astype(matrix.dtype), indices, indptr), shape=(n, 1))


def _dense(matrix: OOMMatrix, positions: NDArray[np.integer], values: np.ndarray) -> np.ndarray:
    out = np.zeros(matrix.shape, dtype=matrix.dtype_in_memory)
    out[positions, 0] = values
    return out


def _nbytes(values: sparse.csr_matrix | np.ndarray) -> int:
    if isinstance(values, np.ndarray):
        return values.nbytes
    return int(values.data.nbytes + values.indices.nbytes + values.indptr.nbytes)
