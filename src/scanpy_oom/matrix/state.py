"""The state of a matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..storage.sources.base import Source
    from .cache_registry import Copies, Interest
    from .known_statistics import Statistics
    from .oommatrix import OOMMatrix
    from .selection import Selection
    from .transforms.chain import Chain

__all__ = ["State"]


@dataclass(frozen=True, eq=False)
class State:
    """The state of a matrix: immutable, so that it may be shared, kept and put back.

    Parameters
    ----------
    source
        Where the stored values lie.
    selection
        Which rows and columns of it are shown.
    chain
        What is done to the values.
    statistics
        What is known of the result: it grows, as passes find more.
    copies
        Where compact copies of the stored values are found.
    transposed_of
        Of a transposed matrix, the one with rows and columns exchanged.
    """

    source: Source
    selection: Selection
    chain: Chain
    statistics: Statistics
    copies: Copies
    transposed_of: OOMMatrix | None = None
    _interest: Interest = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_interest", self.copies.interest())

    @property
    def format(self) -> Literal["csr", "csc"]:
        """Format in memory, were it sparse."""
        by_columns = self.source.format == "csc" and not any(step.leaves_csr for step in self.chain.transforms)
        return "csc" if by_columns else "csr"

    def __reduce__(self) -> tuple[type[State], tuple[object, ...]]:
        return State, (self.source, self.selection, self.chain, self.statistics, self.copies, self.transposed_of)
