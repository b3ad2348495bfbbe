"""Rows that are read little by little: what one read has decoded serves the next, and at last all rows are copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import MemoryBudgetExceeded
from ...matrix import OOMMatrix
from ...matrix.selection import Selection
from ...matrix.transforms.chain import Chain
from ...storage.arrays.blocks import stacked
from ...storage.scratch.file import ScratchSpaceError
from ...storage.sources.base import CSRBlock
from ..reader import Reader, SourceReader
from ..runtime import pass_log
from .columns import room
from .policy import columns_to_cache, needed_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ...matrix.cache_registry import Loop
    from ...storage.sources.base import Source

__all__ = ["edges", "is_few_rows", "is_read_in_parts", "rows_at_hand", "whole"]

BLOCK = 2**16
"""Entries of the rows that are decoded together and kept, where one row is read after the other."""

LARGEST = 2**20
"""Values of rows of an array that are decoded together, at most."""

_ENTRY = 16
"""Bytes of an entry that was decoded, and of what is kept for its row."""

MOST = 32
"""Rows that are read without a pass, at most."""

TURNS = 2
"""Passes over a source that stores columns for single rows, before it is copied by rows."""

ENOUGH = 0.9
"""Share of the file that must have been fetched for parts of the rows, before all rows are copied."""


class _Block(NamedTuple):
    """Rows that are decoded together: a number, the first, that after the last, and the entries that they have."""

    number: int
    first: int
    stop: int
    entries: int


class _Rows(NamedTuple):
    """Rows of a source that lie side by side, in all columns."""

    first: int
    stored: CSRBlock

    @property
    def nbytes(self) -> int:
        return self.stored.indptr.nbytes + self.stored.indices.nbytes + self.stored.data.nbytes


def whole(matrix: OOMMatrix) -> OOMMatrix:
    """Return all that the source of `matrix` stores."""
    source = matrix.source
    chain = Chain((), source.dtype, source.shape, source.format == "dense")
    return OOMMatrix(source, Selection(None, None, source.shape), chain, copies=matrix.copies.top())


def is_read_in_parts(matrices: Sequence[OOMMatrix]) -> bool:
    """Return whether some rows are about to be read from a file that is slow, others having been before."""
    lead = matrices[0]
    rows, loop = lead.selection.rows, lead.copies.loop
    if rows is None or loop.bytes_read < ENOUGH * lead.source.nbytes or not rows.size:
        return False
    if not loop.has_been_at(*edges(rows)):  # what goes through the rows from one end to the other reads them once
        return False
    if not lead.source.is_slow or lead.copies.narrowest(needed_columns(matrices)) is not None:
        return False
    return columns_to_cache(whole(lead), SourceReader(lead.source), reuse=False) is not None


def is_few_rows(matrix: OOMMatrix) -> bool:
    """Return whether a matrix shows few rows that lie side by side in a file, as one row of a loop."""
    rows, source = matrix.selection.rows, matrix.source
    if rows is None or rows.size > MOST or 0 in matrix.shape:
        return False
    side_by_side = rows.size == 1 or bool((np.diff(rows) == 1).all())
    return side_by_side and _gives_rows(source, matrix.copies.loop)


def _gives_rows(source: Source, loop: Loop) -> bool:
    """Return whether rows of a source by columns come from a copy by rows, made once they have cost as much."""
    if source.has_rows or loop.rows_refused or loop.bytes_read < TURNS * source.nbytes:
        return source.has_rows
    try:
        source.read_rows(slice(0, 0))
    except (ScratchSpaceError, MemoryBudgetExceeded):  # then all columns are gone through for each row
        loop.rows_refused = True
    return source.has_rows


def edges(rows: NDArray[np.intp]) -> tuple[int, int]:
    """Return the first and the last of some rows."""
    return int(rows.min()), int(rows.max())


def rows_at_hand(matrix: OOMMatrix, cache_all: Callable[[], None]) -> CSRBlock | None:
    """Return what is stored in the few rows that a matrix shows, in all columns of the source.

    Rows around them are decoded as well where one row is read after the other, or where they are anyway.

    Parameters
    ----------
    matrix
        What is read, as :func:`is_few_rows` has it.
    cache_all
        Leaves a copy of all rows before some are fetched from the file, if it is time for it.

    Returns
    -------
    The rows; None if there is a narrower copy to read from.
    """
    rows, source = matrix.selection.rows, matrix.source
    assert rows is not None
    copy = matrix.copies.narrowest(needed_columns([matrix]))
    if copy is not None and copy.columns is not None:
        return None
    source.check_open()
    first, last = edges(rows)
    found = []
    while first <= last:
        block = _block(source, first)
        found.append(_rows_of_block(matrix, block, first, min(last + 1, block.stop), cache_all))
        first = block.stop
    return stacked(found)


def _rows_of_block(matrix: OOMMatrix, block: _Block, first: int, stop: int, cache_all: Callable[[], None]) -> CSRBlock:
    """Return some rows of a block: from what was kept of it, or as it is read now."""
    source, loop = matrix.source, matrix.copies.loop
    previous, loop.last_block = loop.last_block, block.number
    kept: _Rows | None = loop.rows.get(block.number)
    if kept is None:
        needed = needed_columns([matrix])
        if matrix.copies.narrowest(needed) is None:
            cache_all()
        copy, before = matrix.copies.narrowest(needed), source.bytes_read
        reader = copy if isinstance(copy, Reader) else SourceReader(source)
        holds_all = copy is None or copy.rows is None  # some copies lack the rows around
        follows = holds_all and (copy is not None or abs(block.number - previous) <= 1)
        if follows and block.entries * _ENTRY <= (space := room()):
            loop.rows.capacity = space
            kept = loop.rows.get_or_make(block.number, lambda: _read(reader, block.first, block.stop))
        else:
            kept, _ = _read(reader, first, stop)
        fetched = source.bytes_read - before
        loop.add(first, stop - 1, fetched)
        pass_log.add_bytes(fetched)
    return _cut(kept, first, stop)


def _read(reader: Reader, first: int, stop: int) -> tuple[_Rows, int]:
    """Read rows; return them with their bytes."""
    rows = _Rows(first, reader.read(np.arange(first, stop)))
    return rows, rows.nbytes


def _block(source: Source, row: int) -> _Block:
    """Return the block in which a row lies."""
    n_rows, n_columns = source.shape
    if source.row_alignment > 1:
        n = min(source.row_alignment, max(1, LARGEST // max(n_columns, 1)))
        start, stop = row // n * n, min((row // n + 1) * n, n_rows)
        return _Block(row // n, start, stop, (stop - start) * n_columns)
    offsets = source.row_offsets()
    number = int(offsets[row]) // BLOCK
    edges = np.searchsorted(offsets[:n_rows], [number * BLOCK, (number + 1) * BLOCK])
    start, stop = int(edges[0]), int(edges[1])
    return _Block(number, start, stop, int(offsets[stop] - offsets[start]))


def _cut(rows: _Rows, start: int, stop: int) -> CSRBlock:
    """Return some of the rows; nothing that is done to them changes what is kept."""
    indptr = rows.stored.indptr[start - rows.first : stop - rows.first + 1]
    entries = slice(int(indptr[0]), int(indptr[-1]))
    return CSRBlock(indptr - indptr[0], rows.stored.indices[entries].copy(), rows.stored.data[entries].copy())
