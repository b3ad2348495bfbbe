"""From the columns that are fetched to those that a matrix shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..kernels import select_columns
from ..memory.buffer_pool import BUFFERS
from ..storage.sources.base import CSRBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix.selection import Selection

__all__ = ["ColumnChoice"]


class ColumnChoice:
    """From the columns that are fetched to those that are shown.

    Parameters
    ----------
    selection
        What is shown.
    fed
        Columns of the source that are fetched, ascending; None for all.

    Attributes
    ----------
    map
        `(n_fed,)` new number of each column that is fetched, -1 where it is not shown; empty if all are, in order.
    repeated
        Columns that are shown, where one of them is shown more than once; else None.
    """

    def __init__(self, selection: Selection, fed: NDArray[np.intp] | None) -> None:
        self._n_fed = selection.source_shape[1] if fed is None else fed.size
        shown = selection.columns
        if fed is not None:
            shown = np.searchsorted(fed, np.arange(selection.source_shape[1]) if shown is None else shown)
        self.repeated = shown if selection.repeats_columns else None
        self.map: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._rank: NDArray[np.int32] | None = None
        if shown is None or self.repeated is not None or np.array_equal(shown, np.arange(self._n_fed)):
            return
        self.map = np.full(self._n_fed, -1, dtype=np.int32)
        self.map[shown] = np.arange(shown.size, dtype=np.int32)
        if (np.diff(shown) < 0).any():
            self._rank = np.argsort(np.argsort(shown)).astype(np.int32)

    @property
    def reorders(self) -> bool:
        """True if what is shown comes in another order than in the source."""
        return self._rank is not None

    def select(self, raw: CSRBlock) -> CSRBlock:
        """Return what is shown; perhaps `raw` itself."""
        if self.repeated is not None:
            shape = (raw.indptr.size - 1, self._n_fed)
            wide = sparse.csr_matrix((raw.data, raw.indices, raw.indptr), shape=shape)[:, self.repeated]
            return CSRBlock(wide.indptr.astype(np.int64), wide.indices.astype(np.int32), wide.data)
        if not self.map.size:
            return raw
        indptr, n = np.empty_like(raw.indptr), raw.indices.size
        indices, data = BUFFERS.empty(n, raw.indices.dtype), BUFFERS.empty(n, np.float64)
        kept = select_columns(raw.indptr, raw.indices, raw.data, self.map, indptr, indices, data)
        return CSRBlock(indptr, indices[:kept], data[:kept])

    def ascending(self, shown: CSRBlock) -> CSRBlock:
        """Return what is shown with its columns in the order of the source."""
        if self._rank is None:
            return shown
        shape = (shown.indptr.size - 1, self._rank.size)
        ordered = sparse.csr_matrix((shown.data, self._rank[shown.indices], shown.indptr), shape=shape, copy=True)
        ordered.sort_indices()
        return CSRBlock(shown.indptr, ordered.indices.astype(np.int32, copy=False), ordered.data)
