"""The questions that a matrix asks about its own values, answered by passes on threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..matrix.statistics import EXACT_BY_SUBTRACTION
from .budget import announce
from .collect import CollectDense, CollectSparse
from .extrema import ExtremaReduction
from .moments import AxisStatistics
from .products import LeftProduct, RightProduct
from .run import Request, run
from .write import Write

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    from numpy.typing import NDArray
    from scipy import sparse

    from ..matrix import OOMMatrix
    from ..matrix.statistics import Statistics
    from .extrema import Extrema
    from .reductions import Reduction

__all__ = ["ENGINE", "ThreadsEngine"]

_ALL = ("row_sum", "row_nnz", "row_npos", "col_sum", "col_sumsq", "col_nnz", "col_npos")


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
            announce(what, "a matrix that is on disk", nbytes, "an array has no other place")
        return _answer(matrix, CollectDense(what) if dense else CollectSparse(what))

    def statistics(self, matrix: OOMMatrix, *names: str) -> Statistics:
        """Return the statistics of `matrix`, with the named ones (or all) known; one pass if they were not.

        Counts by column, of a matrix from which some rows were taken away, follow from these rows alone.
        """
        missing = [name for name in names or _ALL if name not in matrix.statistics.known]
        if missing:
            known = _by_subtraction(matrix, missing) or _answer(matrix, AxisStatistics()).known
            matrix.statistics.known |= known
        return matrix.statistics

    def extrema(self, matrix: OOMMatrix) -> Extrema:
        """Return the smallest and largest value of `matrix`, and what kind of numbers there are."""
        return _answer(matrix, ExtremaReduction())

    def right_product(self, matrix: OOMMatrix, dense: NDArray) -> NDArray[np.float64]:
        """Multiply by a dense matrix from the right."""
        return _answer(matrix, RightProduct(dense))

    def left_product(self, matrix: OOMMatrix, dense: NDArray) -> NDArray[np.float64]:
        """Multiply the transpose by a dense matrix from the right."""
        return _answer(matrix, LeftProduct(dense))

    def write(self, matrix: OOMMatrix, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, Any]) -> None:
        """Write the values of `matrix` to a file, in blocks."""
        rows = matrix.selection.rows
        if rows is None or (np.diff(rows) >= 0).all():
            _answer(matrix, Write(parent, name, dataset_kwargs))
            return
        msg = (
            f"Writing {matrix!r} needs its rows in the order of the source: they were reordered. Sort them "
            "(`adata[np.sort(...)]`) or bring the object into memory first (`adata.to_memory()`)."
        )
        raise NotImplementedError(msg)


ENGINE = ThreadsEngine()
