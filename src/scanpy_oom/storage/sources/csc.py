"""Column-compressed matrices in a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...memory.fork_lock import fork_safe_lock
from ..abc import ReadCost
from ..arrays.ranges import row_runs
from .stored import CompressedSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Container
    from ..nodes import GroupNode
    from ..scratch.transpose import RowMajorCopy
    from .base import CSRBlock

__all__ = ["CSCSource"]


class CSCSource(CompressedSource):
    """A column-compressed matrix in a container.

    Columns are read straight from the container. Rows are read from a copy by rows, which the first read of rows
    writes to scratch files.
    """

    format = "csc"
    supports_columns = True

    def __init__(self, container: Container, group: GroupNode, shape: tuple[int, int]) -> None:
        super().__init__(container, group, shape)
        self._lock = fork_safe_lock()
        self._offsets: NDArray[np.int32] | NDArray[np.int64] | None = None
        self._copy: RowMajorCopy | None = None

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row; the first call reads all indices."""
        with self._lock:
            return self._counted()

    def column_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each column, `(n_columns + 1,)`."""
        return self.arrays.offsets()

    @property
    def has_rows(self) -> bool:
        """True if the copy by rows is there already."""
        return self._copy is not None

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows; the first call copies the matrix by rows to `settings.scratch_dir`.

        Raises
        ------
        ScratchSpaceError
            If the copy does not fit there.
        """
        runs = row_runs(rows, self.shape[0])
        with self._lock:
            if self._copy is None:
                from ..scratch.transpose import RowMajorCopy  # with the compiler, which opening a file does without

                self._copy = RowMajorCopy(self.arrays, self._counted())
            copy = self._copy
        with self.container.unchanged():
            return copy.read(runs)

    def read_columns(self, columns: slice | NDArray[np.int64]) -> sparse.csc_matrix:
        """Fetch columns straight from the container.

        Returns
        -------
        `(n_rows, n_columns)`, its values in the kernel dtype of the matrix.
        """
        runs = row_runs(columns, self.shape[1])
        block = self.arrays.read(runs)
        return sparse.csc_matrix((block.data, block.indices, block.indptr), shape=(self.shape[0], runs.size))

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows: all, and the indices once more to count the entries of rows; then none."""
        if self.has_rows:
            return ReadCost(0, certain=True)
        return ReadCost(self.nbytes + self.arrays.indices_nbytes, certain=False)

    def estimate_read_columns(self, columns: NDArray[np.intp] | None = None) -> ReadCost:
        """Estimate what is fetched for columns, by the list of chunks."""
        cost = self.arrays.estimate_read(None if columns is None else np.unique(columns))
        return ReadCost(cost.nbytes, certain=False)

    def close(self) -> None:
        """Release the container and the scratch space. Reading from a closed source raises ValueError."""
        with self._lock:
            if self._copy is not None:
                self._copy.close()
                self._copy = None
        super().close()

    def _counted(self) -> NDArray[np.int32] | NDArray[np.int64]:
        if self._offsets is None:
            from ..scratch.transpose import count_rows

            self._offsets = count_rows(self.arrays)
        return self._offsets
