"""Two matrices over the same entries whose columns are summed in one loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernels import group_sums_of_two
from .moments import GroupMoments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .block import Block
    from .run import Request

__all__ = ["Pair"]


class Pair:
    """Two requests of a pass for sums by the same groups, of matrices that differ in their chains alone.

    What both add to a column lies side by side, so that the loop, which waits for memory, waits once for both. The
    partial results are those of either reduction, each a view of one half.

    Parameters
    ----------
    first, second
        The reductions, prepared.
    """

    def __init__(self, first: GroupMoments, second: GroupMoments) -> None:
        self._first, self._second = first, second

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Pair | None:
        """Return the pair that the requests of a pass are, None if they are none."""
        if len(requests) != 2 or any(len(request.reductions) != 1 for request in requests):
            return None
        (first,), (second,) = (request.reductions for request in requests)
        one, other = (request.matrix for request in requests)
        if not (type(first) is type(second) is GroupMoments and first.sums_like(second)):
            return None
        return cls(first, second) if one.selection.columns is other.selection.columns else None

    def partials(self) -> list[list[Any]]:
        """Return empty partial results."""
        both = self._first.empty_pair()
        return [[self._first.partial(both[:, :, :2])], [self._second.partial(both[:, :, 2:])]]

    def update(self, partials: list[list[Any]], blocks: Sequence[Block]) -> None:
        """Add the blocks of both matrices to partial results."""
        (first, second), ((partial,), _) = blocks, partials
        codes, order = self._first.codes_of(first)
        both = partial.moments.base
        group_sums_of_two(first.indptr, first.indices, first.values, second.values, codes, order, partial.single, both)
