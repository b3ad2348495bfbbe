"""Matrices in memory, as sources."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from scipy import sparse

from ...errors import CorruptFileError
from ..abc import ReadCost
from ..arrays.array_reader import wrong_offsets
from ..arrays.blocks import CSRBlock, is_supported_dtype, kernel_dtype
from ..arrays.ranges import row_runs
from ..arrays.validation import CheckIndices, ToValues
from .base import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["MemorySource"]


class MemorySource(Source):
    """A SciPy sparse matrix or a two-dimensional NumPy array.

    Parameters
    ----------
    matrix
        The matrix, which is not copied unless it is column-compressed, and must not change from here on.
    format
        Format of what it stands for, where that is not its own.

    Raises
    ------
    TypeError
        If it is neither, or does not hold numbers.
    CorruptFileError
        If its arrays do not make up a matrix.
    """

    path = None
    compression = "none"
    location = "memory"
    backend = "memory"

    def __init__(
        self, matrix: sparse.spmatrix | sparse.sparray | Values, format: Literal["csr", "csc"] | None = None
    ) -> None:
        is_array = isinstance(matrix, np.ndarray) and matrix.ndim == 2
        if not (is_array or (sparse.issparse(matrix) and matrix.ndim == 2)) or not is_supported_dtype(matrix.dtype):
            msg = f"A sparse or dense matrix of numbers is expected, not {type(matrix).__name__}."
            raise TypeError(msg)
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        self.dtype = matrix.dtype.newbyteorder("=")
        self.byteorder = matrix.dtype.byteorder if is_array else "="
        self.format: Literal["csr", "csc", "dense"] = "dense"
        self._matrix = cast("Any", matrix)
        if not is_array:
            _check_arrays(self._matrix)
            self.holds_arrays = isinstance(matrix, sparse.sparray)
            self.format = format or ("csc" if self._matrix.format == "csc" else "csr")
            self._matrix = sparse.csr_matrix(matrix)
        self.nnz = int(matrix.size) if is_array else int(self._matrix.nnz)
        arrays = (matrix,) if is_array else (self._matrix.data, self._matrix.indices, self._matrix.indptr)
        self.nbytes = sum(array.nbytes for array in arrays)

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from a file: none."""
        return 0

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row."""
        n_rows, n_cols = self.shape
        if self.format == "dense":
            offsets = np.arange(n_rows + 1, dtype=np.int64) * n_cols
        else:
            offsets = self._matrix.indptr.view()
        offsets.flags.writeable = False
        return offsets

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        runs = row_runs(rows, self.shape[0])
        dtype = kernel_dtype(self.dtype)
        if self.format == "dense":
            values = ToValues(dtype, self.location)(self._matrix[runs.numbers()], 0, 0)
            block = sparse.csr_matrix(values)
            return CSRBlock(block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data)
        from .dense_to_csr import Tile  # with the compiler, which others do without

        selected = Tile(self._matrix.indptr, self._matrix.indices, self._matrix.data).rows(runs)
        indices = CheckIndices(self.location, self.shape[1])(selected.indices, 0)
        return CSRBlock(selected.indptr, indices, ToValues(dtype, self.location)(selected.data, 0))

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched from a file: nothing."""
        return ReadCost(0, certain=True)

    def close(self) -> None:
        """Do nothing: there is no file."""


def _check_arrays(matrix: sparse.spmatrix | sparse.sparray) -> None:
    """Refuse what SciPy, which trusts them, would convert out of bounds."""
    wrong: object = None
    try:
        if matrix.format in {"csr", "csc", "bsr"}:
            # of rows, indices are checked where they are read; what is behind the last entry is cut off the copy
            copy(matrix).check_format(full_check=matrix.format != "csr")
            wrong = wrong_offsets(matrix.indptr, int(matrix.indptr[-1]))
        elif matrix.format == "coo":
            for positions, n in zip(matrix.coords, matrix.shape, strict=True):
                CheckIndices("The matrix in memory", n)(positions, 0)
    except ValueError as error:
        wrong = error
    if wrong:
        msg = f"The arrays of this matrix do not form a valid sparse matrix: {wrong}"
        raise CorruptFileError(msg)
