"""The questions that a matrix asks about its own values, answered by passes on threads."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from ..engine.budget import announce, require
from ..engine.cache.loops import cache_for_parts
from ..engine.cache.policy import choose_reader, keeps_columns
from ..engine.cache.rows import is_few_rows
from ..engine.compute import compute, run_alone
from ..engine.explain import plan
from ..engine.runtime.empty_rows import report_zero_rows
from ..engine.sources.patched import assigned
from ..engine.sources.scratch import kept
from ..matrix.known_statistics import EXACT_BY_SUBTRACTION
from ..matrix.protocol import TO_ARRAY
from ..matrix.transforms import ByColumn, Elementwise
from ..reductions.axis_statistics import AxisStatistics, StoredCounts
from ..reductions.collect import CollectDense, CollectSparse, Nothing, SparseProduct
from ..reductions.extrema import ColumnExtrema, ExtremaReduction
from ..reductions.products import LeftProduct, RightProduct
from ..reductions.rowwise import RowDeviations, RowExtrema
from ..reductions.write import Write, WriteColumns, is_written_by_columns
from ..settings import format_bytes
from .at_hand import values_at_hand, values_of_rows
from .transposed import transposed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from ..matrix.inplace.places import Places
    from ..matrix.known_statistics import Statistics
    from ..reductions.extrema import Extrema

__all__ = ["ENGINE", "ThreadsEngine"]

_ALL = ("row_sum", "row_nnz", "row_npos", "col_sum", "col_sumsq", "col_nnz", "col_npos")

_MIRRORED = {"row_sum": "col_sum", "row_nnz": "col_nnz", "row_npos": "col_npos"}
_MIRRORED |= {column: row for row, column in _MIRRORED.items()}
"""Statistics of a matrix, and which ones of its transposed they are."""


def _by_subtraction(matrix: OOMMatrix, names: list[str]) -> dict[str, np.ndarray] | None:
    few, remainder = matrix.statistics.removed_rows(names), matrix.statistics.remainder
    if few is None or remainder is None:
        return None
    known, columns = remainder.base.statistics.known, remainder.columns
    everything = slice(None)
    plan.reason("counts before rows were removed are known: those of the rows removed are taken off")
    found = compute(few, AxisStatistics(), cache=False, assume=plan.of_no_rows).known
    return {
        name: known[name][everything if columns is None else columns] - found[name]
        for name in EXACT_BY_SUBTRACTION & known.keys()
    }


class ThreadsEngine:
    """Runs passes on threads of this process."""

    def collect(
        self, matrix: OOMMatrix, *, dense: bool, what: str, order: Literal["C", "F"] = "C"
    ) -> sparse.csr_matrix | np.ndarray:
        """Bring the values of `matrix` into memory."""
        collected = CollectDense(what, order) if dense else CollectSparse(what)
        if plan.is_made():  # which takes nothing that is at hand
            return compute(matrix, collected, workspace=matrix.nbytes_in_memory)
        if what == TO_ARRAY:
            nbytes = matrix.shape[0] * matrix.shape[1] * matrix.dtype.itemsize
            self.announce(what, matrix, nbytes, "NumPy arrays are in memory")
        if matrix.transposed_of is not None:
            values = self.collect(matrix.transposed_of, dense=dense, what=what, order="F" if order == "C" else "C")
            return values.T if dense else sparse.csr_matrix(values.T)
        found = values_at_hand(matrix, dense=dense)
        if found is not None:
            return found
        if is_few_rows(matrix):
            found = values_of_rows(matrix, collected, lambda: cache_for_parts([matrix], run_alone))
            if found is not None:
                report_zero_rows(matrix)
                return found
        return compute(matrix, collected)

    def keep(self, matrix: OOMMatrix) -> None:
        """Have all of `matrix`, a few columns, at hand for what will ask for some of it; nothing if it is too much."""
        reader = choose_reader([matrix])
        if keeps_columns(matrix, reader):
            compute(matrix, Nothing())

    def keep_changed(self, values: object, like: OOMMatrix) -> OOMMatrix:
        """Keep values that were changed in memory as a matrix that takes the place of another."""
        return kept(values, like)

    def assigned(self, matrix: OOMMatrix, places: Places) -> OOMMatrix:
        """Return a matrix with other values at some places: a patch over `matrix`, or a changed copy in scratch."""
        return assigned(matrix, places)

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
        described = f"{operation} {'of' if operation == TO_ARRAY else 'on'} {matrix!r}"
        require(nbytes, described[0].upper() + described[1:] if operation == TO_ARRAY else described, advice)
        announce(operation, f"the matrix of {matrix.source.location}", nbytes, reason)

    def statistics(self, matrix: OOMMatrix, *names: str) -> Statistics:
        """Return the statistics of `matrix`, with the named ones (or all) known; one pass if they were not.

        Counts by column, of a matrix from which some rows were taken away, follow from these rows alone.
        """
        missing = [name for name in names or _ALL if name not in matrix.statistics.known]
        if not missing:
            return matrix.statistics
        if matrix.transposed_of is not None and _MIRRORED.keys() >= set(missing):
            found = self.statistics(matrix.transposed_of, *(_MIRRORED[name] for name in missing)).known
            matrix.statistics.known |= {name: found[other] for name, other in _MIRRORED.items() if other in found}
        else:
            known = _by_subtraction(matrix, missing)
            known = known or compute(matrix, AxisStatistics(), assume=plan.of_no_rows).known
            matrix.statistics.known |= known
        return matrix.statistics

    def extrema(self, matrix: OOMMatrix) -> Extrema:
        """Return the smallest and largest value of `matrix`, and what kind of numbers there are."""
        return compute(matrix if matrix.transposed_of is None else matrix.transposed_of, ExtremaReduction())

    def axis_extrema(self, matrix: OOMMatrix, axis: int) -> NDArray[np.float64]:
        """Return the smallest and largest values along an axis, `(2, n)`."""
        if matrix.transposed_of is not None:
            return self.axis_extrema(matrix.transposed_of, 1 - axis)
        return compute(matrix, ColumnExtrema() if axis == 0 else RowExtrema())

    def squared_deviations(self, matrix: OOMMatrix, axis: int | None) -> NDArray[np.float64] | np.float64:
        """Return sums of squared differences from the mean, along an axis or of all values.

        By column it takes two passes, the first for the means; by row, one.
        """
        if matrix.transposed_of is not None:
            return self.squared_deviations(matrix.transposed_of, None if axis is None else 1 - axis)
        if axis == 1:
            return compute(matrix, RowDeviations())
        n_rows, n_columns = matrix.shape
        sums = self.statistics(matrix, "col_sum").known["col_sum"]
        mean = sums / n_rows if axis == 0 else np.full(n_columns, sums.sum() / (n_rows * n_columns))
        centred = matrix.transform(ByColumn("subtract", mean, np.dtype(np.float64)))
        squares = self.statistics(centred.transform(Elementwise("square")), "col_sum").known["col_sum"]
        return squares if axis == 0 else squares.sum()

    def stored_counts(self, matrix: OOMMatrix, axis: int) -> NDArray[np.int64]:
        """Return the numbers of stored values along an axis, zeros that are stored among them."""
        if matrix.transposed_of is not None:
            return self.stored_counts(matrix.transposed_of, 1 - axis)
        if axis == 0:
            return compute(matrix, StoredCounts())
        rows = np.arange(matrix.shape[0])
        if matrix.selection.columns is None and matrix.source.nnz_is_exact:
            offsets, rows = matrix.source.row_offsets(), matrix.selection.source_rows(rows)
            return np.subtract(offsets[rows + 1], offsets[rows], dtype=np.int64)
        return np.diff(compute(matrix, CollectSparse("getnnz")).indptr)

    def right_product(
        self, matrix: OOMMatrix, factors: np.ndarray | sparse.csr_matrix
    ) -> np.ndarray | sparse.csr_matrix:
        """Multiply by a dense or sparse matrix from the right."""
        if sparse.issparse(factors):
            return compute(matrix, SparseProduct(sparse.csr_matrix(factors, dtype=np.float64)))
        nbytes = 8 * matrix.shape[0] * factors.shape[1]
        require(nbytes, f"The product of {matrix!r} with {factors.shape[1]} columns", "Multiply by fewer at a time.")
        return compute(matrix, RightProduct(factors))

    def left_product(
        self, matrix: OOMMatrix, factors: np.ndarray | sparse.csr_matrix
    ) -> np.ndarray | sparse.csr_matrix:
        """Multiply the transpose by a dense or sparse matrix from the right."""
        if sparse.issparse(factors):
            return sparse.csr_matrix(compute(matrix, LeftProduct(sparse.csr_matrix(factors))))
        return compute(matrix, LeftProduct(factors))

    def transpose(self, matrix: OOMMatrix) -> OOMMatrix:
        """Exchange rows and columns, lazily."""
        return transposed(matrix)

    def write(self, matrix: OOMMatrix, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, object]) -> None:
        """Write the values of `matrix` to a file, in blocks."""
        if is_written_by_columns(matrix, parent, name):
            with closing(WriteColumns(parent, name, dataset_kwargs, matrix)) as columns:
                compute(matrix, columns)
            return
        with closing(Write(parent, name, dataset_kwargs)) as write:
            turned = None
            if matrix.format_in_memory == "csc":
                # what was changed is kept by rows
                turned = transposed(matrix) if matrix.transposed_of is None else matrix.transposed_of
            if turned is None or write.as_array(matrix):
                compute(matrix, write)
                return
            compute(turned, write)  # rows of the one are columns of the other
            by_columns = {"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": matrix.shape}
            parent[name].attrs.update(by_columns)


ENGINE = ThreadsEngine()
