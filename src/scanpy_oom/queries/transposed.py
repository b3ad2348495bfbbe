"""A matrix with rows and columns exchanged, as a source."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..engine.compute import compute
from ..engine.sources.scratch import ScratchSource, ScratchSourceWriter
from ..matrix import OOMMatrix
from ..memory.fork_lock import fork_safe_lock
from ..memory.ledger import ACCOUNTANT
from ..reductions.collect import CollectSparse
from ..storage.sources.base import ReadCost, Source, kernel_dtype

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..storage.sources.base import CSRBlock

__all__ = ["TransposedSource", "transposed"]

SHARE = 8
"""Share of the free memory that columns may take that are transposed at a time."""


def transposed(matrix: OOMMatrix) -> OOMMatrix:
    """Exchange rows and columns of `matrix`, lazily."""
    matrix = matrix.copy()  # as it is now
    return OOMMatrix.from_source(TransposedSource(matrix), transposed_of=matrix)


class TransposedSource(Source):
    """The columns of a matrix as rows.

    Most that is asked of a transposed matrix, products, sums, values, writing, is asked of the matrix itself
    (:attr:`~scanpy_oom.matrix.OOMMatrix.transposed_of`). For anything else, the first read of rows leaves a copy in
    scratch space, in as many passes over the columns as it takes for them to fit in memory.

    Parameters
    ----------
    parent
        The matrix.
    """

    def __init__(self, parent: OOMMatrix) -> None:
        self._parent = parent
        self.shape = parent.shape[::-1]
        self.dtype = parent.dtype
        self.byteorder = parent.dtype_in_memory.byteorder if parent.is_dense else "="
        self.holds_arrays = parent.source.holds_arrays
        self.format = "dense" if parent.is_dense else "csr" if parent.format == "csc" else "csc"
        self.nbytes = parent.source.nbytes
        self.backend = parent.source.backend
        self.location = f"transpose of {parent.source.location}"
        self.compression = "none"
        self._lock = fork_safe_lock()
        self._copy: ScratchSource | None = None

    @property
    def path(self) -> Path | None:  # type: ignore[override]
        """The file in which the matrix lies."""
        return self._parent.source.path

    @property
    def nnz(self) -> int:  # type: ignore[override]
        """Stored entries; for a dense matrix rows times columns."""
        return self.shape[0] * self.shape[1] if self.format == "dense" else self._parent.nnz

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from the file so far."""
        return self._parent.source.bytes_read

    def row_offsets(self) -> NDArray[np.int64]:
        """Count the stored entries that precede each row; the first call transposes."""
        return self.prepared().row_offsets()

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows; the first call transposes."""
        return self.prepared().read_rows(rows)

    def prepared(self) -> ScratchSource:
        """Return the copy by rows, which the first call writes to scratch space.

        Raises
        ------
        ScratchSpaceError
            If there is no room for it.
        """
        with self._lock:
            if self._copy is None:
                self._copy = self._transposed()
            return self._copy

    def _transposed(self) -> ScratchSource:
        parent = self._parent
        n_columns = parent.shape[1]
        writer = ScratchSourceWriter(OOMMatrix.from_source(self), "transpose")
        room = max(ACCOUNTANT.available_to_passes() // SHARE, 1)
        n_parts = min(max(-(-4 * parent.nbytes_in_memory // room), 1), max(n_columns, 1))
        edges = np.linspace(0, n_columns, n_parts + 1).astype(np.intp)
        for first, last in pairwise(edges):
            part = parent.select(None, np.arange(first, last))
            columns = compute(part, CollectSparse("transpose"), is_turn=False).tocsc()
            writer.add(
                int(first),
                columns.indptr.astype(np.int64),
                columns.indices.astype(np.int32),
                columns.data.astype(kernel_dtype(self.dtype)),
            )
        return writer.finish()

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows: the share of the whole that they are of it."""
        if self.path is None:
            return ReadCost(0, certain=True)
        return super().estimate_read(rows, n_blocks, n_threads)

    def check_open(self) -> None:
        """Raise ValueError if the matrix is closed, CorruptFileError if its file is another."""
        self._parent.source.check_open()

    def close(self) -> None:
        """Release the file and the scratch space."""
        with self._lock:
            if self._copy is not None:
                self._copy.close()
                self._copy = None
        self._parent.source.close()

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key not in {"_copy", "_lock"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _copy=None, _lock=fork_safe_lock())
