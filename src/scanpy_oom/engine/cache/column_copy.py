"""A copy by columns, made when single columns are read one after the other: from then on they are read at once."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ... import messages
from ...errors import OOMError
from ...matrix import OOMMatrix
from ...matrix.selection import Selection
from ...matrix.transforms.chain import Chain
from ...memory.ledger import ACCOUNTANT
from ...settings import format_bytes, settings
from ...storage.scratch.file import room_for_copies
from ...storage.scratch.transpose import Entries, sort_rows
from ...storage.sources.base import kernel_dtype
from ..budget import LIBRARIES
from ..column_buckets import BUCKET, ByBuckets
from .columns import StoredColumn, recent_columns
from .compact_copy import CompactCopy, CompactCopyWriter, NoRoomError
from .policy import IN_MEMORY, needed_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ...storage.sources.base import Source
    from ..column_buckets import Batch

__all__ = ["ColumnCopy", "EntriesByColumn", "copy_by_columns", "is_loop", "shows_single"]

SINGLE = 4
"""Columns that count as one turn of a loop over columns, at most: pairs of genes, of receptors and ligands, are single
ones too."""

TURNS = 2
"""Turns that read as today. The copy that the next one makes takes about as long as these."""

SCATTERED = 32
"""Of compressed rows, one in so many costs as much as all: they lie in as many chunks."""

PIECE = 2**13
"""Entries of several columns that are decoded together, at most: what one column takes is little more than its own."""

_SORTED = 32
"""Bytes that an entry takes while those of a bucket of columns are put in order and encoded."""

_UNEVEN = 8
"""How many times as much as on average a bucket may hold, and still be sorted."""

SAMPLED = 256
"""Rows of which the entries are counted by column, so that buckets hold about as much."""

SMALLEST = 2**17
"""Entries of a bucket that is worth a place in scratch files."""


class ColumnCopy:
    """The stored values of a source by columns, in compact form.

    Parameters
    ----------
    columns
        Columns of the source that it holds, ascending; None for all.
    copy
        Their entries: a column of the source is a row of the copy.
    """

    def __init__(self, columns: NDArray[np.intp] | None, copy: CompactCopy) -> None:
        self.columns = columns
        self._copy = copy

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, in memory or on disk."""
        return self._copy.nbytes

    @property
    def in_memory(self) -> bool:
        """True if it is in memory."""
        return self._copy.in_memory

    @property
    def takes_memory(self) -> bool:
        """True if it is in memory, or in a scratch file that is."""
        return self._copy.takes_memory

    def holds(self, columns: NDArray[np.intp]) -> bool:
        """Return whether it holds all of these columns of the source."""
        if self.columns is None:
            return True
        places = np.minimum(np.searchsorted(self.columns, columns), max(self.columns.size - 1, 0))
        return bool(self.columns.size) and np.array_equal(self.columns[places], columns)

    def _places(self, columns: NDArray[np.intp]) -> NDArray[np.intp]:
        return columns if self.columns is None else np.searchsorted(self.columns, columns)

    def entries(self, columns: NDArray[np.intp]) -> int:
        """Count what is stored in these columns."""
        return int(self._copy.sizes(self._places(columns)).sum())

    def read(self, columns: NDArray[np.intp]) -> list[StoredColumn]:
        """Return what is stored in these columns, which ascend."""
        block = self._copy.read(self._places(columns))
        ends = block.indptr.tolist()
        return [StoredColumn(block.indices[start:stop], block.data[start:stop]) for start, stop in pairwise(ends)]


class EntriesByColumn(ByBuckets):
    """All that is stored, column by column: by way of scratch files, to a :class:`ColumnCopy`.

    Parameters
    ----------
    source
        What is copied.
    rows
        Rows of it that the matrix shows, ascending; None for all.
    columns
        Columns that it shows, ascending; None for all.
    """

    def __init__(self, source: Source, rows: NDArray[np.intp] | None, columns: NDArray[np.intp] | None) -> None:
        super().__init__(np.arange(source.shape[0], dtype=np.int32) if rows is None else rows)
        self._source = source
        self._columns = columns

    def prepare(self, matrix: OOMMatrix) -> None:
        # what is stored several times for one place is added up in double precision
        is_exact = self._columns is None and (self._source.nnz_is_exact or self._source.format == "dense")
        dtype: np.dtype = kernel_dtype(matrix.dtype) if is_exact else np.dtype(np.float64)
        bucket = min(BUCKET, max(_room() // (_UNEVEN * _SORTED), SMALLEST))
        self._prepare(matrix, dtype, f"A copy of {self._source.location} by columns", bucket=bucket)
        buckets = self.buckets
        if self._columns is not None:  # entries were counted in all columns
            buckets.nbytes = buckets.nbytes * self._columns.size // self._source.shape[1]
        if buckets.nbytes > (room := room_for_copies()):
            msg = f"it takes {format_bytes(buckets.nbytes)}, and {format_bytes(room)} are its share"
            raise NoRoomError(msg)

    def _expected(self) -> NDArray[np.number] | None:
        """Count the entries of each column in some of the rows, where these are not fetched for that alone."""
        copy, n_rows = self._matrix.copies.narrowest(needed_columns([self._matrix])), self._matrix.shape[0]
        if not isinstance(copy, CompactCopy) or not n_rows:
            return None
        some = self._matrix.selection.source_rows(np.unique(np.linspace(0, n_rows - 1, SAMPLED).astype(np.intp)))
        counts = np.bincount(copy.read(some).indices, minlength=self._matrix.shape[1])
        return counts + 1 / n_rows

    def result(self, total: Batch) -> ColumnCopy:
        buckets = self.buckets
        sizes = buckets.sizes()
        buckets.sort_by_label()
        largest = max(int(sizes.max(initial=0)), 1) * _SORTED
        n_threads = min(settings.n_threads, _room() // largest)
        in_memory = min(IN_MEMORY, ACCOUNTANT.available() // 16)
        n_rows, n_columns = self._source.shape[0], int(buckets.bounds[-1])
        writer = CompactCopyWriter(self._source, None, None, n_columns, in_memory, PIECE, n_rows)
        try:
            self._check(int(sizes.sum()), n_threads)
            with ACCOUNTANT.reserve(sorting=n_threads * largest):
                deque(buckets.each(lambda bucket: self._write(bucket, writer), n_threads), maxlen=0)
        except BaseException:
            buckets.close()
            writer.discard()
            raise
        return ColumnCopy(self._columns, writer.finish())

    def _check(self, n_entries: int, n_threads: int) -> None:
        if not n_threads:
            msg = "the memory limit is too low to sort the columns"
            raise NoRoomError(msg)
        is_single = self.buckets.dtype == np.float32 and self._source.format != "dense"
        if is_single and n_entries < self._matrix.stored:
            msg = "values that are stored several times for one place are added up in double precision"
            raise NoRoomError(msg)

    def _write(self, bucket: int, writer: CompactCopyWriter) -> None:
        columns, entries = self.buckets.columns(bucket), Entries(*self.buckets.read(bucket))
        first, n_columns = columns.start, columns.stop - columns.start
        offsets = np.zeros(n_columns + 1, dtype=np.int64)
        np.cumsum(np.bincount(entries.rows - first, minlength=n_columns), out=offsets[1:])
        writer.add(first, offsets, *sort_rows(entries, first, offsets))


def _room() -> int:
    """Return the bytes that sorting may take."""
    return max(ACCOUNTANT.available() - LIBRARIES, 0)


def shows_single(matrices: Sequence[OOMMatrix]) -> bool:
    """Return whether a pass reads so few columns that it may be one turn of a loop over columns."""
    shown = matrices[0].selection.columns
    return len(matrices) == 1 and shown is not None and shown.size <= SINGLE


def is_loop(matrices: Sequence[OOMMatrix]) -> bool:
    """Take note of what a pass reads; tell whether it goes on with single columns, one after the other."""
    lead = matrices[0]
    loop = lead.copies.loop
    share = min(1.0, SCATTERED * lead.shape[0] / max(lead.source.shape[0], 1))
    if not shows_single(matrices):
        if share == 1:
            loop.passes = 0
        return False
    if 0 in lead.shape or loop.refused or settings.cache == "off":
        return False
    if lead.source.supports_columns:
        return False
    needed = needed_columns(matrices)
    if needed is None or recent_columns(lead, np.flatnonzero(needed)) is not None:
        return False
    with loop.lock:
        loop.passes += share
        return loop.passes > TURNS


def copy_by_columns(matrix: OOMMatrix, run: Callable[[OOMMatrix, EntriesByColumn], ColumnCopy]) -> None:
    """Leave a copy by columns of all that `matrix` is a part of, if there is room; else it is not tried again.

    Parameters
    ----------
    matrix
        Some columns, of which others were read before.
    run
        Runs a pass.
    """
    loop, needed = matrix.copies.loop, needed_columns([matrix])
    with loop.lock:
        if loop.refused or needed is None or recent_columns(matrix, np.flatnonzero(needed)) is not None:
            return  # another thread was here
        source, rows, columns = matrix.source, None, None
        copies, copy = matrix.copies.top(), matrix.copies.narrowest(needed)
        if (
            isinstance(copy, CompactCopy)
            and copy.columns is not None
            and (holder := matrix.copies.holder(copy)) is not None
        ):
            rows, columns, copies = copy.rows, copy.columns, holder
        selection = Selection(rows, columns, source.shape)
        chain = Chain((), source.dtype, selection.shape, source.format == "dense")
        base = OOMMatrix(source, selection, chain, copies=copies)
        entries = EntriesByColumn(source, rows, columns)
        try:
            made: ColumnCopy = run(base, entries)
            copies.keep_by_columns(made)
        except (NoRoomError, OOMError) as error:  # of rows that are not asked for, perhaps: each turn speaks for itself
            loop.refused = True
            messages.info(
                f"Columns of {source.location} are read one after the other, each in a pass over all rows. A copy by "
                f"columns cannot be made: {str(error).rstrip('.')}."
            )
            return
    messages.info(
        f"Columns of {source.location} are read one after the other, and scanpy-oom made a copy by columns "
        f"({format_bytes(made.nbytes)}). Columns are now read from this copy."
    )
