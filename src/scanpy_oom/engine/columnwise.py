"""Column-compressed sources: what can be had column by column needs no copy by rows."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..matrix import OOMMatrix
from ..matrix.selection import Selection
from ..memory.ledger import ACCOUNTANT
from ..storage.sources.memory import MemorySource
from .budget import BYTES_PER_ENTRY, LIBRARIES, require
from .reader import sum_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ..storage.sources.base import Source
    from .request import Request

__all__ = ["column_parts", "goes_by_columns", "reads_by_columns"]

_ADVICE = "Write the file again by rows (CSR)."

_FEW = 16
"""One in so many columns is read as such even where there is a copy by rows."""

_NO_MATTER = 2**24
"""Bytes of a column that are read whatever the limit is."""


def reads_by_columns(matrix: OOMMatrix) -> bool:
    """Return whether `matrix` follows from the columns that it shows, and these are cheaper to read than rows."""
    source = matrix.source
    if not source.supports_columns or 0 in matrix.shape:
        return False
    columns = matrix.selection.columns
    if source.has_rows and (columns is None or columns.size * _FEW > source.shape[1]):
        return False
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    # totals that are not known need all columns of a row
    if any(np.isnan(totals.values[rows]).any() for totals in matrix.chain.totals):
        return False
    # a column is read as a whole; where that takes too much, rows of the copy by rows take less
    lengths = np.diff(_offsets(source))
    longest = lengths if columns is None else lengths[columns]
    return int(longest.max()) * BYTES_PER_ENTRY <= max(ACCOUNTANT.available_to_passes() - LIBRARIES, _NO_MATTER)


def goes_by_columns(requests: Sequence[Request]) -> bool:
    """Return whether a pass is one over columns: where a reduction needs that, or all can do so and it is cheaper."""
    reductions = [reduction for request in requests for reduction in request.reductions]
    if any(reduction.needs_columns for reduction in reductions):
        return True
    can = len(requests) == 1 and all(reduction.by_columns for reduction in reductions)
    return can and reads_by_columns(requests[0].matrix)


def column_parts(matrix: OOMMatrix, entries: int) -> Iterator[OOMMatrix]:
    """Yield `matrix` in parts, some columns each, their stored values in memory.

    Parameters
    ----------
    matrix
        A matrix over a source that supports columns.
    entries
        Stored entries that a part may hold; a column with more is a part of its own.
    """
    source, selection = matrix.source, matrix.selection
    columns = np.arange(matrix.shape[1]) if selection.columns is None else selection.columns
    offsets = _offsets(source)
    for first, last in _edges(offsets, columns, entries):
        if last - first == 1 and (n := int(offsets[columns[first] + 1] - offsets[columns[first]])) > entries:
            require(n * BYTES_PER_ENTRY, f"Reading a column of {source.location} that stores {n:,} entries", _ADVICE)
        distinct, inverse = np.unique(columns[first:last], return_inverse=True)
        read = source.read_columns(distinct)
        assert read is not None  # it supports columns
        stored = read[:, inverse.reshape(-1)].tocsr()
        sum_repeated(stored, source)
        # values are held in the kernels' dtype; the chain goes by the dtype of the source
        part = selection.take(None, np.arange(first, last))
        chain = matrix.chain.take(None, np.arange(first, last))
        values = MemorySource(stored, None if source.format == "dense" else source.format)
        yield OOMMatrix(values, Selection(part.rows, None, (source.shape[0], last - first)), chain)


def _offsets(source: Source) -> NDArray[np.integer]:
    """Count the stored entries that precede each column of a source that supports columns."""
    offsets = source.column_offsets()
    assert offsets is not None
    return offsets


def _edges(offsets: NDArray[np.integer], columns: NDArray[np.intp], entries: int) -> Iterator[tuple[int, int]]:
    """Cut columns into parts of a number of stored entries; no columns are one part."""
    ends = np.append(0, np.cumsum(np.subtract(offsets[columns + 1], offsets[columns], dtype=np.int64)))
    edges = [0]
    while edges[-1] < columns.size or len(edges) == 1:
        within = int(np.searchsorted(ends, ends[edges[-1]] + entries, side="right")) - 1
        edges.append(min(max(within, edges[-1] + 1), columns.size))
    return pairwise(edges)
