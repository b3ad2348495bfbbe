"""Medians by group of rows, column by column: entries go by way of scratch files, as for ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from .ranks import GroupRanks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ..engine.column_buckets import Batch
    from ..matrix import OOMMatrix

__all__ = ["GroupMedians"]


class GroupMedians(GroupRanks):
    """Median of each column within groups of rows, `(n_groups, n_columns)`; NaN for a group without rows.

    Parameters
    ----------
    codes
        `(n_rows,)` group of each row, -1 for none.
    n_groups
        Number of groups.
    """

    def __init__(self, codes: NDArray[np.integer], n_groups: int) -> None:
        # rows of no group are one more, of which nothing is asked
        super().__init__(np.where(np.asarray(codes) < 0, n_groups, codes), n_groups + 1)

    def prepare(self, matrix: OOMMatrix) -> None:
        super().prepare(matrix)
        self._sizes = self.spec.sizes()

    @property
    def _is_dense(self) -> bool:
        return self._fill_values is not None

    def part(self, total: Batch, k: int) -> NDArray[np.float64]:
        """Compute the medians of the columns of a bucket."""
        shown, n_groups = self.buckets.columns(k), self.spec.n_groups
        n_columns = shown.stop - shown.start
        columns, codes, values = total.buckets.read(k)
        if self._matrix.dtype == bool and not self._matrix.is_dense:
            values = values.astype(bool)  # of which scanpy adds the two in the middle: true, once
        # one after the other by group, and within it by column
        from sklearn.utils.sparsefuncs import csc_median_axis_0  # which takes long to load

        order = np.lexsort((columns, codes))
        columns, values = columns[order] - shown.start, values[order]
        ends = np.cumsum(np.bincount(codes, minlength=n_groups))
        out = np.empty((n_groups - 1, n_columns))
        for group, n_rows in enumerate(self._sizes[:-1]):
            these = slice(ends[group - 1] if group else 0, ends[group])
            indptr = np.concatenate([[0], np.cumsum(np.bincount(columns[these], minlength=n_columns))])
            # in which row a value is makes no difference
            stored = (values[these], np.zeros(indptr[-1], dtype=np.int64), indptr)
            out[group] = csc_median_axis_0(_columns(stored, (n_rows, n_columns)))
        if self._matrix.is_dense:  # as NumPy has it; of a sparse matrix, scanpy leaves them out
            missing = np.isnan(values) & (codes[order] < n_groups - 1)
            out[codes[order][missing], columns[missing]] = np.nan
        return out

    def put_together(self, total: Batch, parts: Iterable[tuple[int, NDArray[np.float64]]]) -> NDArray[np.float64]:
        out = np.zeros((self.spec.n_groups - 1, self._matrix.shape[1]))
        for k, found in parts:
            out[:, self.buckets.columns(k)] = found
        return out


def _columns(stored: tuple[np.ndarray, np.ndarray, np.ndarray], shape: tuple[int, int]) -> sparse.csc_matrix:
    """Return a matrix whose values may all be in one row, which SciPy is not to look into."""
    matrix = sparse.csc_matrix(shape, dtype=stored[0].dtype)
    matrix.data, matrix.indices, matrix.indptr = stored
    return matrix
