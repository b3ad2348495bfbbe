"""What a pass can accumulate: the interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["Reduction"]


class Reduction(ABC):
    """Accumulates one thing over the blocks of a matrix.

    A partial result belongs to one task, whose blocks come in order; partial results are merged in the order of
    tasks. What is known by row is written to its place at once, since no two blocks share a row.
    """

    uses_blas: bool = False
    """Whether `update` calls BLAS, which is then held to one thread a worker."""

    in_order: bool = False
    """Whether blocks must be added one after the other, in the order of the rows, to a single partial result."""

    is_final: bool = False
    """Whether it takes the values elsewhere, so that they are not likely to be read again."""

    by_columns: bool = False
    """Whether results for parts of the columns can be joined."""

    needs_columns: bool = False
    """Whether it must be given a column-compressed matrix column by column."""

    @abstractmethod
    def prepare(self, matrix: OOMMatrix) -> None:
        """Learn the shape, and allocate what is written by row."""

    @abstractmethod
    def partial(self) -> Any:
        """Return an empty partial result."""

    @abstractmethod
    def update(self, partial: Any, block: Block) -> None:
        """Add `block` to `partial`. Must not change the block."""

    def finish(self, partial: Any) -> Any:
        """Return `partial` once its last block has been added."""
        return partial

    @abstractmethod
    def merge(self, total: Any, partial: Any) -> Any:
        """Return `total` with `partial`, the next one, added. May change and return either."""

    @abstractmethod
    def result(self, total: Any) -> Any:
        """Return what was asked for, from the merged partial results of all tasks."""

    def join(self, results: list[Any]) -> Any:
        """Return the result for all columns, from those for parts of them, where :attr:`by_columns` is set."""
        msg = f"{type(self).__name__} needs all columns at once."
        raise TypeError(msg)

    def partial_nbytes(self) -> int:
        """Bytes of one partial result."""
        return 0

    def workspace_nbytes(self) -> int:
        """Bytes that a thread takes beside, while it fills one."""
        return 0
