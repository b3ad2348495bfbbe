"""The questions that a matrix asks about its own values, answered by passes on threads."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..matrix.statistics import EXACT_BY_SUBTRACTION
from ..matrix.transforms import ByColumn, Elementwise
from ..settings import format_bytes
from .budget import announce, require
from .collect import CollectDense, CollectSparse, Nothing, SparseProduct
from .extrema import ColumnExtrema, ExtremaReduction
from .moments import AxisStatistics, StoredCounts
from .products import LeftProduct, RightProduct
from .rowwise import RowDeviations, RowExtrema
from .run import Request, run
from .staging import choose_feed, keeps_columns
from .transposed import transposed
from .write import Write, WriteColumns, is_written_by_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..matrix.statistics import Statistics
    from .extrema import Extrema
    from .reductions import Reduction

__all__ = ["ENGINE", "ThreadsEngine"]

_ALL = ("row_sum", "row_nnz", "row_npos", "col_sum", "col_sumsq", "col_nnz", "col_npos")

_MIRRORED = {"row_sum": "col_sum", "row_nnz": "col_nnz", "row_npos": "col_npos"}
_MIRRORED |= {column: row for row, column in _MIRRORED.items()}
"""Statistics of a matrix, and which ones of its transposed they are."""

IMPLICIT = "numpy.asarray"
"""What brings a matrix into memory without having been asked to by name."""


def _answer(matrix: OOMMatrix, reduction: Reduction) -> Any:
    return run([Request(matrix, [reduction])])[0][0]


def _by_subtraction(matrix: OOMMatrix, names: list[str]) -> dict[str, NDArray] | None:
    few, remainder = matrix.statistics.removed_rows(names), matrix.statistics.remainder
    if few is None or remainder is None:
        return None
    known, columns = remainder.base.statistics.known, remainder.columns
    everything = slice(None)
    found = run([Request(few, [AxisStatistics()])], stage=False)[0][0].known
    return {
        name: known[name][everything if columns is None else columns] - found[name]
        for name in EXACT_BY_SUBTRACTION & known.keys()
    }


class ThreadsEngine:
    """Runs passes on threads of this process."""

    def collect(self, matrix: OOMMatrix, *, dense: bool, what: str) -> sparse.csr_matrix | NDArray:
        """Bring the values of `matrix` into memory."""
        if what == IMPLICIT:
            nbytes = matrix.shape[0] * matrix.shape[1] * matrix.dtype.itemsize
            self.announce(what, matrix, nbytes, "an array has no other place")
        if matrix.mirror is not None:
            values = self.collect(matrix.mirror, dense=dense, what=what)
            return values.T if dense else sparse.csr_matrix(values.T)
        return _answer(matrix, CollectDense(what) if dense else CollectSparse(what))

    def keep(self, matrix: OOMMatrix) -> None:
        """Have all of `matrix`, a few columns, at hand for what will ask for some of it; nothing if it is too much."""
        feed = choose_feed([matrix])
        if keeps_columns(matrix, feed):
            _answer(matrix, Nothing())

    def announce(self, operation: str, matrix: OOMMatrix, nbytes: int, reason: str) -> None:
        """Make sure that values fit in memory, and say once that an operation brings them there.

        Raises
        ------
        MemoryBudgetExceeded
            If they take more than is left of ``settings.memory_limit``.
        """
        advice = "Take fewer rows or columns, or go through them in parts (`adata.chunked_X`)."
        if not matrix.is_dense and nbytes > matrix.nbytes_in_memory:
            advice += f" As a sparse matrix (`.to_memory()`) it takes {format_bytes(matrix.nbytes_in_memory)}."
        require(nbytes, f"{operation} on {matrix!r}", advice)
        announce(operation, f"the matrix of {matrix.source.location}", nbytes, reason)

    def statistics(self, matrix: OOMMatrix, *names: str) -> Statistics:
        """Return the statistics of `matrix`, with the named ones (or all) known; one pass if they were not.

        Counts by column, of a matrix from which some rows were taken away, follow from these rows alone.
        """
        missing = [name for name in names or _ALL if name not in matrix.statistics.known]
        if not missing:
            return matrix.statistics
        if matrix.mirror is not None and _MIRRORED.keys() >= set(missing):
            found = self.statistics(matrix.mirror, *(_MIRRORED[name] for name in missing)).known
            matrix.statistics.known |= {name: found[other] for name, other in _MIRRORED.items() if other in found}
        else:
            known = _by_subtraction(matrix, missing) or _answer(matrix, AxisStatistics()).known
            matrix.statistics.known |= known
        return matrix.statistics

    def extrema(self, matrix: OOMMatrix) -> Extrema:
        """Return the smallest and largest value of `matrix`, and what kind of numbers there are."""
        return _answer(matrix if matrix.mirror is None else matrix.mirror, ExtremaReduction())

    def axis_extrema(self, matrix: OOMMatrix, axis: int) -> NDArray[np.float64]:
        """Return the smallest and largest values along an axis, `(2, n)`."""
        if matrix.mirror is not None:
            return self.axis_extrema(matrix.mirror, 1 - axis)
        return _answer(matrix, ColumnExtrema() if axis == 0 else RowExtrema())

    def squared_deviations(self, matrix: OOMMatrix, axis: int | None) -> Any:
        """Return sums of squared differences from the mean, along an axis or of all values.

        By column it takes two passes, the first for the means; by row, one.
        """
        if matrix.mirror is not None:
            return self.squared_deviations(matrix.mirror, None if axis is None else 1 - axis)
        if axis == 1:
            return _answer(matrix, RowDeviations())
        n_rows, n_columns = matrix.shape
        sums = self.statistics(matrix, "col_sum").known["col_sum"]
        mean = sums / n_rows if axis == 0 else np.full(n_columns, sums.sum() / (n_rows * n_columns))
        centred = matrix.transform(ByColumn("subtract", mean, np.dtype(np.float64)))
        squares = self.statistics(centred.transform(Elementwise("square")), "col_sum").known["col_sum"]
        return squares if axis == 0 else squares.sum()

    def stored_counts(self, matrix: OOMMatrix, axis: int) -> NDArray[np.int64]:
        """Return the numbers of stored values along an axis, zeros that are stored among them."""
        if matrix.mirror is not None:
            return self.stored_counts(matrix.mirror, 1 - axis)
        if axis == 0:
            return _answer(matrix, StoredCounts())
        rows = np.arange(matrix.shape[0])
        if matrix.selection.columns is None and matrix.source.nnz_is_exact:
            offsets, rows = matrix.source.row_offsets(), matrix.selection.source_rows(rows)
            return np.subtract(offsets[rows + 1], offsets[rows], dtype=np.int64)
        return np.diff(_answer(matrix, CollectSparse("getnnz")).indptr)

    def right_product(self, matrix: OOMMatrix, factors: NDArray | sparse.csr_matrix) -> Any:
        """Multiply by a dense or sparse matrix from the right."""
        if sparse.issparse(factors):
            return _answer(matrix, SparseProduct(sparse.csr_matrix(factors, dtype=np.float64)))
        nbytes = 8 * matrix.shape[0] * factors.shape[1]
        require(nbytes, f"The product of {matrix!r} with {factors.shape[1]} columns", "Multiply by fewer at a time.")
        return _answer(matrix, RightProduct(factors))

    def left_product(self, matrix: OOMMatrix, factors: NDArray | sparse.csr_matrix) -> Any:
        """Multiply the transpose by a dense or sparse matrix from the right."""
        if sparse.issparse(factors):
            return sparse.csr_matrix(_answer(matrix, LeftProduct(sparse.csr_matrix(factors))))
        return _answer(matrix, LeftProduct(factors))

    def transpose(self, matrix: OOMMatrix) -> OOMMatrix:
        """Exchange rows and columns, lazily."""
        return transposed(matrix)

    def write(self, matrix: OOMMatrix, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, Any]) -> None:
        """Write the values of `matrix` to a file, in blocks."""
        if is_written_by_columns(matrix, parent, name):
            with closing(WriteColumns(parent, name, dataset_kwargs, matrix)) as columns:
                _answer(matrix, columns)
            return
        with closing(Write(parent, name, dataset_kwargs)) as write:
            if matrix.mirror is None or write.as_array(matrix):
                _answer(matrix, write)
                return
            _answer(matrix.mirror, write)  # rows of the one are columns of the other
            by_columns = {"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": matrix.shape}
            parent[name].attrs.update(by_columns)


ENGINE = ThreadsEngine()
