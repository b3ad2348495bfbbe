"""The cost of passes before they run, by the decisions of the executor, without reading values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...matrix import OOMMatrix
from ...matrix.cache_registry import Copies
from ...matrix.transforms import NormalizeTotal, RowTotals
from ...settings import format_bytes
from ..cache.columns import RecentColumns
from ..cache.compact_copy import CompactCopy
from ..cache.policy import CacheWriter
from ..choice import chosen_executor
from ..columnwise import goes_by_columns
from ..executor import COLUMN_ENTRIES, make_pass
from ..reader import Reader, SourceReader
from ..request import CachePolicy, Request
from ..sources.joined import below
from .explanation import PlannedPass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ...matrix.selection import Axis
    from ...matrix.transforms.chain import Chain
    from ...storage.sources.base import CSRBlock
    from ..abc import Distribution
    from ..column_selector import ColumnChoice
    from ..reduction import Reduction
    from ..request import Step
    from ..thread_pass import Pass

__all__ = ["explain_steps"]

WORDS = {
    "AxisStatistics": "sums and counts of rows and columns",
    "ClassSums": "column sums",
    "ColumnExtrema": "smallest and largest values of columns",
    "CollectDense": "all values, as an array",
    "CollectSparse": "all values, as a CSR matrix",
    "DownsampleRows": "counts drawn in each row, kept in scratch space",
    "DownsampleTotal": "counts drawn, kept in scratch space",
    "ExtremaReduction": "smallest and largest value",
    "Gram": "Gram matrix",
    "GramProduct": "product with the Gram matrix",
    "GroupClippedSums": "sums of clipped values by group",
    "GroupMeanVar": "means and variances by group",
    "GroupMoments": "moments by group",
    "GroupWelford": "means and variances by group",
    "HighlyExpressed": "highly expressed columns",
    "LeftProduct": "product from the left",
    "RightProduct": "projection",
    "SetSums": "row sums over sets of columns",
    "TopSums": "row sums of the largest values",
}
"""Descriptions of reductions; others go by their names."""


class _ComingCopy(Reader):
    """A compact copy that an earlier pass of the plan will leave."""

    nbytes = 0
    """Bytes that it takes yet."""

    def __init__(
        self,
        number: int,
        source_reader: Reader,
        rows: NDArray[np.intp] | None,
        columns: NDArray[np.intp] | None,
        share: float,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.number = number
        self.exact = columns is None
        self._reader = source_reader
        self._share = share

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        sizes = self._reader.sizes(rows)
        return sizes if self.exact else np.rint(sizes * self._share).astype(np.int64)

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        msg = "This copy has not been written yet."
        raise RuntimeError(msg)


def explain_steps(steps: Iterable[Step], matrix: str) -> tuple[PlannedPass, ...]:
    """Plan passes that come one after the other, of which later ones read the copies that earlier ones leave.

    Nothing is fetched but the offsets of rows, or of columns where the source is stored by columns.

    Parameters
    ----------
    steps
        The passes.
    matrix
        The matrix that they read, as users write it.

    Raises
    ------
    MemoryBudgetExceeded
        If one of them takes more than ``settings.memory_limit``, as it would where it runs.
    """
    planner = _Planner(matrix)
    planned = (planner.explain(step) for step in steps)
    return tuple(step for step in planned if step is not None)


class _Planner:
    """Plans passes, and keeps the copies that they will leave."""

    def __init__(self, matrix: str) -> None:
        self._matrix = matrix
        self._n = 0
        self._coming: list[tuple[Copies, _ComingCopy]] = []
        self._rows_met: list[Axis] = []
        self._fetched = False

    def explain(self, step: Step) -> PlannedPass | None:
        """Plan a pass; None if all that it would read is at hand."""
        lead = step.requests[0].matrix
        reductions = [reduction for request in step.requests for reduction in request.reductions]
        if goes_by_columns(step.requests):
            self._n += 1
            return self._by_columns(step, reductions)
        requests = [Request(self._with_coming(request.matrix), request.reductions) for request in step.requests]
        coming = make_pass(requests, CachePolicy(step.cache, step.reuse))
        if isinstance(coming.reader, RecentColumns):
            return None
        self._n += 1
        leaves = ""
        if coming.cache_writer is not None:
            coming.cache_writer.discard()
            leaves = self._leave(lead, coming)
        self._rows_met.append(lead.selection.rows)
        return self._planned(step, coming, reductions, leaves)

    def _with_coming(self, matrix: OOMMatrix) -> OOMMatrix:
        """Return the matrix as it will be once earlier passes have left their copies, and found totals of rows."""
        met = any(rows is None or rows is matrix.selection.rows for rows in self._rows_met)
        chain = _with_totals(matrix.chain) if met else matrix.chain
        copies = Copies(above=matrix.copies, same_rows=True)
        for where, copy in self._coming:
            if where is matrix.copies or where is matrix.copies.top():
                copies.add(copy)
        return OOMMatrix(matrix.source, matrix.selection, chain, matrix.statistics, copies)

    def _leave(self, lead: OOMMatrix, coming: Pass) -> str:
        """Keep the copy that a pass will leave, where :meth:`CacheWriter.finish` puts it; say what it is."""
        if not isinstance(coming.cache_writer, CacheWriter):
            return "columns, in memory"
        everything = coming.cache_writer.takes_all_columns
        columns = None if everything or lead.selection.columns is None else np.sort(lead.selection.columns)
        fed = lead.source.shape[1] if coming.reader.columns is None else coming.reader.columns.size
        share = 1.0 if columns is None else _share(lead, coming, columns.size / max(fed, 1))
        top = everything and lead.selection.rows is None
        copy = _ComingCopy(self._n, coming.reader, lead.selection.rows, columns, share)
        self._coming.append((lead.copies.top() if top else lead.copies, copy))
        return "copy of " + ("all columns" if columns is None else f"{columns.size:,} columns")

    def _planned(self, step: Step, coming: Pass, reductions: Sequence[Reduction], leaves: str) -> PlannedPass:
        reader, partition = coming.reader, coming.partition
        in_order = any(reduction.in_order for reduction in reductions)
        tasks = partition.tasks(0 if in_order else coming.partial_nbytes)
        rows = np.arange(partition.n_rows, dtype=np.intp) if partition.rows is None else partition.rows
        counted = not (isinstance(reader, SourceReader) and _rows_uncounted(coming.lead))
        if counted:
            coming.fit_rows()
        share = coming.share
        if counted:
            n_entries = sum(int(reader.sizes(rows[start:stop]).sum()) for start, stop in tasks)
            n_blocks = sum(1 for task in tasks for _ in partition.blocks(*task))
        else:  # to count the entries of rows, all indices would have to be read
            source = coming.lead.source
            n_entries = source.nnz * partition.n_rows // max(source.shape[0], 1)
            n_blocks = max(len(tasks), -(-n_entries // share.entries))
        n_bytes, certain = 0, True
        if isinstance(reader, SourceReader):
            n_bytes, certain = coming.lead.source.estimate_read(partition.rows, n_blocks, share.n_threads)
            certain &= not (self._fetched and n_bytes)  # some of it may still be at hand
            self._fetched = True
        coming_copy = isinstance(reader, _ComingCopy)
        entries_certain = counted and (not isinstance(reader, _ComingCopy) or reader.exact)
        return PlannedPass(
            computes=_in_words(reductions),
            reductions=tuple(type(reduction).__name__ for reduction in reductions),
            matrix=self._matrix,
            shape=coming.lead.shape,
            reads=_where_from(reader, coming.lead),
            n_bytes=n_bytes,
            n_entries=n_entries,
            n_blocks=n_blocks,
            n_threads=share.n_threads,
            peak=share.blocks_nbytes + share.partials_nbytes + step.workspace,
            leaves=leaves,
            bytes_certain=certain,
            entries_certain=entries_certain,
            blocks_certain=counted and not coming_copy,
            repeats=step.repeats,
            distribution=_distribution(step),
        )

    def _by_columns(self, step: Step, reductions: Sequence[Reduction]) -> PlannedPass:
        """Plan a pass over the columns of a column-compressed source, some at a time."""
        matrix = step.requests[0].matrix
        source = matrix.source
        offsets = source.column_offsets()
        assert offsets is not None
        columns = np.arange(matrix.shape[1]) if matrix.selection.columns is None else matrix.selection.columns
        n_entries = int(np.subtract(offsets[columns + 1], offsets[columns], dtype=np.int64).sum())
        coming = make_pass([Request(matrix, reductions)], CachePolicy(cache=False, reuse=False))
        n_parts = max(1, -(-n_entries // COLUMN_ENTRIES))
        share, (n_bytes, certain) = coming.share, source.estimate_read_columns(matrix.selection.columns)
        part = min(n_entries, COLUMN_ENTRIES)
        return PlannedPass(
            computes=_in_words(reductions),
            reductions=tuple(type(reduction).__name__ for reduction in reductions),
            matrix=self._matrix,
            shape=matrix.shape,
            reads=f"columns of {source.location}",
            n_bytes=n_bytes,
            n_entries=n_entries,
            n_blocks=n_parts * len(coming.partition.tasks(coming.partial_nbytes)),
            n_threads=share.n_threads,
            peak=share.blocks_nbytes + share.partials_nbytes + 12 * part + step.workspace,
            bytes_certain=certain,
            blocks_certain=False,
            repeats=step.repeats,
        )


def _distribution(step: Step) -> Distribution | None:
    """Return how the engine of the settings would make a pass on other machines."""
    engine = chosen_executor()
    return None if engine is None else engine.distribution(step)


def _with_totals(chain: Chain) -> Chain:
    """Return the chain with totals of rows that are known, whatever they are."""
    steps = (
        replace(step, totals=RowTotals(np.zeros_like(step.totals.values), step.totals.counted))
        if isinstance(step, NormalizeTotal)
        else step
        for step in chain.transforms
    )
    return replace(chain, transforms=tuple(steps))


def _rows_uncounted(matrix: OOMMatrix) -> bool:
    """Return whether the entries of rows are not known before the first of them is read."""
    return any(not part.source.has_rows for part in below(matrix))


def _share(lead: OOMMatrix, coming: Pass, by_number: float) -> float:
    """Estimate which part of the entries lies in the columns that are shown: by their counts, if these are known."""
    known = lead.statistics.known.get("col_nnz")
    rows = np.arange(lead.source.shape[0]) if lead.selection.rows is None else lead.selection.rows
    if known is None or not known.any() or lead.chain.fill_values is not None or _rows_uncounted(lead):
        return by_number
    return min(float(known.sum()) / max(float(coming.reader.sizes(rows).sum()), 1.0), 1.0)


def _in_words(reductions: Sequence[Reduction]) -> str:
    names = [type(reduction).__name__ for reduction in reductions]
    return "; ".join(dict.fromkeys(WORDS.get(name, name) for name in names))


def _where_from(reader: Reader, lead: OOMMatrix) -> str:
    if isinstance(reader, _ComingCopy):
        return f"the copy of pass {reader.number}"
    if isinstance(reader, CompactCopy):
        columns = "all columns" if reader.columns is None else f"{reader.columns.size:,} columns"
        where = "in memory" if reader.in_memory else "in a scratch file"
        return f"copy of {columns}, {format_bytes(reader.nbytes)} {where}"
    return lead.source.location
