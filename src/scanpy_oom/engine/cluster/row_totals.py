"""Totals of rows that a pass finds on the way: workers find them, and the client keeps them for later passes.

Tested in `test_executor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..cache.policy import missing_totals
from ..sources.joined import JoinedSource, below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from ...matrix import OOMMatrix
    from ...matrix.transforms.normalize import RowTotals
    from ..request import Request

__all__ = ["FoundTotals", "all_totals", "found_totals", "missing"]


class FoundTotals(NamedTuple):
    """Totals of some rows.

    Parameters
    ----------
    number
        Of the totals, among all of a pass (:func:`all_totals`).
    rows
        Rows of the source.
    values
        Their totals.
    """

    number: int
    rows: NDArray[np.intp]
    values: NDArray[np.float64]


def all_totals(requests: Sequence[Request]) -> list[RowTotals]:
    """Return the totals of all chains of a pass, and of the matrices that are joined, in an order that lasts."""
    return [totals for request in requests for matrix in below(request.matrix) for totals in matrix.chain.totals]


def missing(requests: Sequence[Request]) -> tuple[int, ...]:
    """Return the numbers of the totals that are not known yet."""
    lacking = [totals for request in requests for matrix in below(request.matrix) for totals in missing_totals(matrix)]
    lacking_ids = set(map(id, lacking))
    return tuple(number for number, totals in enumerate(all_totals(requests)) if id(totals) in lacking_ids)


def found_totals(requests: Sequence[Request], wanted: Collection[int], rows: NDArray[np.intp]) -> Iterator[FoundTotals]:
    """Yield the totals that are wanted of some rows of the source, which ascend."""
    every = (found for request in requests for found in _of_rows(request.matrix, rows))
    for number, (totals, own) in enumerate(every):
        if number in wanted and own.size:
            yield FoundTotals(number, own, totals.values[own])


def _of_rows(matrix: OOMMatrix, rows: NDArray[np.intp]) -> Iterator[tuple[RowTotals, NDArray[np.intp]]]:
    """Yield the totals of a matrix and of all of which it is joined, with the rows of their sources."""
    for totals in matrix.chain.totals:
        yield totals, rows
    if isinstance(matrix.source, JoinedSource):
        of_parts = dict(matrix.source.split(rows))
        for k, part in enumerate(matrix.source.parts):
            own = part.source_rows(of_parts.get(k, np.empty(0, dtype=np.intp)))
            yield from _of_rows(part.matrix, np.empty(0, dtype=np.intp) if own is None else own)
