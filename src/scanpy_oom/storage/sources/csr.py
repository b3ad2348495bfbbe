"""Row-compressed matrices in a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ..arrays.ranges import row_runs
from .stored import CompressedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..abc import ReadCost
    from .base import CSRBlock

__all__ = ["CSRSource"]


class CSRSource(CompressedSource):
    """A row-compressed matrix in a container."""

    format = "csr"

    def prepared(self) -> Self:
        """Begin a pass."""
        self.arrays.begin()
        return self

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row."""
        return self.arrays.offsets()

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        return self.arrays.read(row_runs(rows, self.shape[0]))

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows, by the list of chunks."""
        at_once = n_threads <= (self.arrays.n_readers if rows is None else 1)
        return self.arrays.estimate_read(rows, 1 if at_once else n_blocks)
