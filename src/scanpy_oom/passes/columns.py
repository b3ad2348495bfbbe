"""Column-compressed sources: what can be had column by column needs no copy by rows."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..io.csc import CSCSource
from ..io.memory import MemorySource
from ..matrix import OOMMatrix
from ..matrix.selection import Selection
from .feed import sum_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["column_parts", "reads_by_columns"]


def reads_by_columns(matrix: OOMMatrix) -> bool:
    """Tell whether `matrix` follows from the columns that it shows, and these are cheaper to read than rows."""
    source = matrix.source
    if not isinstance(source, CSCSource) or source.has_rows or 0 in matrix.shape:
        return False
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    # totals that are not known need all columns of a row
    return not any(np.isnan(totals.values[rows]).any() for totals in matrix.chain.totals)


def column_parts(matrix: OOMMatrix, entries: int) -> Iterator[OOMMatrix]:
    """Yield `matrix` in parts, some columns each, their stored values in memory.

    Parameters
    ----------
    matrix
        A matrix over a :class:`~scanpy_oom.io.csc.CSCSource`.
    entries
        Stored entries that a part may hold; a column with more is a part of its own.
    """
    source, selection = matrix.source, matrix.selection
    assert isinstance(source, CSCSource)
    columns = np.arange(matrix.shape[1]) if selection.columns is None else selection.columns
    for first, last in _edges(source.column_offsets(), columns, entries):
        distinct, inverse = np.unique(columns[first:last], return_inverse=True)
        stored = source.read_columns(distinct)[:, inverse.reshape(-1)].tocsr()
        sum_repeated(stored, source)
        # values are held in the kernels' dtype; the chain goes by the dtype of the source
        part = selection.take(None, np.arange(first, last))
        chain = matrix.chain.take(None, np.arange(first, last))
        yield OOMMatrix(
            MemorySource(stored, source.format), Selection(part.rows, None, (source.shape[0], last - first)), chain
        )


def _edges(offsets: NDArray[np.integer], columns: NDArray[np.intp], entries: int) -> Iterator[tuple[int, int]]:
    """Cut columns into parts of a number of stored entries; no columns are one part."""
    ends = np.append(0, np.cumsum(np.subtract(offsets[columns + 1], offsets[columns], dtype=np.int64)))
    edges = [0]
    while edges[-1] < columns.size or len(edges) == 1:
        within = int(np.searchsorted(ends, ends[edges[-1]] + entries, side="right")) - 1
        edges.append(min(max(within, edges[-1] + 1), columns.size))
    return pairwise(edges)
