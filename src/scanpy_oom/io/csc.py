"""Column-compressed matrices in HDF5 files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import sparse

from .hdf5 import CompressedArrays, HDF5Source
from .locks import ForkSafeLock
from .runs import row_runs
from .transpose import RowMajorCopy, count_rows

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

    from .file import SourceFile
    from .source import CSRBlock

__all__ = ["CSCSource"]


class CSCSource(HDF5Source):
    """A column-compressed matrix in an HDF5 file.

    Columns are read straight from the file. Rows are read from a copy by rows, which the first read of rows writes to
    scratch files.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    group
        The group that holds the matrix, open with h5py; only its description is kept.
    shape
        Number of rows and of columns.
    """

    format = "csc"

    def __init__(self, file: SourceFile, group: h5py.Group, shape: tuple[int, int]) -> None:
        super().__init__(file, group.name)
        self.shape = shape
        n_rows, n_cols = shape
        self._arrays = CompressedArrays(file, group, n_cols, n_rows)
        self.dtype = self._arrays.dtype
        self.nnz = self._arrays.nnz
        self.nbytes = self._arrays.nbytes
        self.compression = self._arrays.compression
        self._lock = ForkSafeLock()
        self._offsets: NDArray[Any] | None = None
        self._copy: RowMajorCopy | None = None

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row; the first call reads all indices."""
        with self._lock:
            return self._counted()

    def column_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each column, `(n_columns + 1,)`."""
        return self._arrays.offsets()

    @property
    def has_rows(self) -> bool:
        """Whether the copy by rows is there already."""
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
                self._copy = RowMajorCopy(self._arrays, self._counted())
            copy = self._copy
        with self.file.unchanged():
            return copy.read(runs)

    def read_columns(self, columns: slice | NDArray[np.int64]) -> sparse.csc_matrix:
        """Fetch columns straight from the file.

        Returns
        -------
        `(n_rows, n_columns)`, its values in the kernel dtype of the matrix.
        """
        runs = row_runs(columns, self.shape[1])
        block = self._arrays.read(runs)
        return sparse.csc_matrix((block.data, block.indices, block.indptr), shape=(self.shape[0], runs.size))

    def close(self) -> None:
        """Release the file and the scratch space. Reading from a closed source raises ValueError."""
        with self._lock:
            if self._copy is not None:
                self._copy.close()
                self._copy = None
        self._arrays.close()
        super().close()

    def _counted(self) -> NDArray[np.int32] | NDArray[np.int64]:
        if self._offsets is None:
            self._offsets = count_rows(self._arrays)
        return self._offsets
