"""The interface of reductions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np

    from ..matrix import OOMMatrix
    from ..storage.sources.base import CSRBlock
    from .array_implementation import AnyImplementation
    from .block import Block, BlockReader
    from .partition import Rows
    from .request import Partials, Request

__all__ = ["Everything", "Fused", "Reduction"]


class Reduction(ABC):
    """Accumulates one thing over the blocks of a matrix.

    A partial result belongs to one task, whose blocks come in order; partial results are merged in the order of
    tasks. What is known by row is written to its place at once, since no two blocks share a row.
    """

    uses_blas: bool = False
    """True if `update` calls BLAS, which is then held to one thread a worker."""

    in_order: bool = False
    """True if blocks must be added one after the other, in the order of the rows, to a single partial result."""

    is_final: bool = False
    """True if it takes the values elsewhere, so that they are not likely to be read again."""

    by_columns: bool = False
    """True if results for parts of the columns can be joined."""

    only_here: str = ""
    """What of it must happen in the user's process, as a phrase; empty if other machines may compute it."""

    tasks: Sequence[tuple[int, int]] | None = None
    """First row of each task, and the one after its last, where these must be others than a partition's."""

    exchanges: bool = False
    """True if tasks write files that others read: elsewhere, :meth:`share` says where, in a folder of all workers."""

    needs_columns: bool = False
    """True if it must be given a column-compressed matrix column by column."""

    spec: object = None
    """Parameters, as the reduction and its array implementation see them: a frozen dataclass, None if there are none.

    What is asked for is there from the start; what follows from the matrix is added by :meth:`prepare`.
    """

    on_arrays: ClassVar[type[AnyImplementation] | None] = None
    """Array implementation, for passes on a device."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.on_arrays = None  # that of a base class computes what this one does

    @classmethod
    def fuse(cls, requests: Sequence[Request], readers: Sequence[BlockReader]) -> Fused | None:
        """Offer one loop for all requests of a pass whose reductions are of this class; None if there is none.

        Parameters
        ----------
        requests
            Their reductions are prepared.
        readers
            Readers of the blocks of each request.
        """
        return None

    def check_room(self, matrix: OOMMatrix) -> None:  # noqa: B027 - most results are small
        """Make sure that the result fits into memory; asked where it will be held, before :meth:`prepare`.

        Raises
        ------
        MemoryBudgetExceeded
            If it does not.
        """

    @abstractmethod
    def prepare(self, matrix: OOMMatrix) -> None:
        """Learn the shape, complete the spec, and allocate what is written by row."""

    @abstractmethod
    def partial(self) -> Any:
        """Return an empty partial result; of what is written by row alone, the one array of all tasks."""

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

    def in_parts(self, matrix: OOMMatrix) -> Reduction | None:
        """Return what does in parts, on any machine, what of this one must happen in the user's process.

        None if there is no such. It is asked for where :attr:`only_here` is set, before a pass is made elsewhere.
        """
        return None

    def share(self, folder: Path, name: str) -> None:
        """Write to files whose names begin with `name` in `folder`, where :attr:`exchanges` is set."""
        msg = f"{type(self).__name__} writes no files."
        raise TypeError(msg)

    def n_parts(self, total: Any) -> int:
        """Return in how many parts the result can be computed, each by itself; 0 if it is in one piece."""
        return 0

    def part(self, total: Any, k: int) -> Any:
        """Compute part `k` of the result."""
        msg = f"The result of {type(self).__name__} is in one piece."
        raise TypeError(msg)

    def put_together(self, total: Any, parts: Iterable[tuple[int, Any]]) -> Any:
        """Return the result, from the number of each part and what :meth:`part` returns, in any order."""
        msg = f"The result of {type(self).__name__} is in one piece."
        raise TypeError(msg)

    def join(self, results: list[Any]) -> Any:
        """Return the result for all columns, from those for parts of them, where :attr:`by_columns` is set."""
        msg = f"{type(self).__name__} needs all columns at once."
        raise TypeError(msg)

    def by_row(self) -> Sequence[np.ndarray]:
        """Return the arrays that tasks write by row, rows along the first axis."""
        return ()

    def pack(self, partial: Any) -> Any:
        """Return what of a partial result another machine needs to merge it; of what is written by row, nothing.

        Where rows come in order, the next machine goes on with a partial result that is not finished.
        """
        return partial

    def unpack(self, packed: Any) -> Any:
        """Return the partial result of what :meth:`pack` has made of one, maybe elsewhere."""
        return packed

    def partial_nbytes(self) -> int:
        """Bytes of one partial result."""
        return 0

    def workspace_nbytes(self) -> int:
        """Bytes that a thread takes beside, while it fills one."""
        return 0


class Everything(Reduction):
    """Nothing: of a pass that is made for the copy of all columns that it leaves behind."""

    by_columns = True

    def prepare(self, matrix: OOMMatrix) -> None:
        """Need nothing."""

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        """Take nothing."""

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> None:
        return None

    def join(self, results: list[None]) -> None:
        return None


class Fused(ABC):
    """One loop for all requests of a pass, which reads what is stored in place of their blocks."""

    @abstractmethod
    def partials(self) -> Partials:
        """Return empty partial results, as each reduction of each request has them."""

    @abstractmethod
    def update(self, partials: Partials, shown: Sequence[CSRBlock], rows: Rows) -> int:
        """Add what is stored in some rows to partial results, and return how many bytes were looked up in.

        Parameters
        ----------
        partials
            Those of one task.
        shown
            Stored values of the columns that each request shows.
        rows
            The rows.
        """
