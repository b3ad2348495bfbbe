"""Two matrices over the same entries whose columns are summed in one loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.buffers import BUFFERS
from ..kernels import group_table_sums, table_misses
from ..matrix.program import N_TABLE
from .moments import GroupMoments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..io.source import CSRBlock
    from .block import BlockReader
    from .plan import Rows
    from .run import Request

__all__ = ["Pair"]

MANY = 1000
"""Entries of a row from which two matrices are summed in one loop, which works on the tables of each row beforehand."""


class Pair:
    """Two requests of a pass for sums by the same groups, of matrices that differ in their chains alone.

    What both add to a column lies side by side, and is looked up where it is added: no value of either matrix is
    written, and the loop, which waits for memory, waits once. The partial results are those of either reduction, each
    a view of one half.

    Parameters
    ----------
    reductions
        Both, prepared.
    readers
        What makes blocks of either matrix.
    """

    def __init__(self, reductions: tuple[GroupMoments, GroupMoments], readers: Sequence[BlockReader]) -> None:
        self._reductions = reductions
        self._readers = readers

    @classmethod
    def of(cls, requests: Sequence[Request], readers: Sequence[BlockReader]) -> Pair | None:
        """Return the pair that the requests of a pass are, None if they are none."""
        if len(requests) != 2 or any(len(request.reductions) != 1 for request in requests):
            return None
        (first,), (second,) = (request.reductions for request in requests)
        one, other = (request.matrix for request in requests)
        if not (type(first) is type(second) is GroupMoments and first.sums_like(second)):
            return None
        alike = one.selection.columns is other.selection.columns and all(reader.tabulates for reader in readers)
        n_entries = one.stored * one.shape[1] / max(one.source.shape[1], 1)
        return cls((first, second), readers) if alike and n_entries >= MANY * one.shape[0] else None

    def partials(self) -> list[list[Any]]:
        """Return empty partial results."""
        first, second = self._reductions
        both = first.empty_pair()
        return [[first.partial(both[:, :, :2])], [second.partial(both[:, :, 2:])]]

    def update(self, partials: list[list[Any]], shown: CSRBlock, rows: Rows) -> int:
        """Add what is stored in some rows to partial results, and return how many bytes were looked up in."""
        (partial,), _ = partials
        missed = BUFFERS.empty(shown.data.size, np.int64)
        missed = missed[: table_misses(shown.data, N_TABLE, missed)]
        tables, others = zip(*(reader.tabulate(shown, rows, missed) for reader in self._readers), strict=True)
        groups = self._reductions[0].codes_of(rows.positions)
        group_table_sums(
            shown.indptr,
            shown.indices,
            shown.data,
            tables,
            (missed, *others),
            partial.single,
            groups,
            partial.moments.base,
        )
        return sum(array.nbytes for array in (*tables, missed, *others))
