"""Readers: the stored values of rows, from the source or from a compact copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ..errors import OOMError
from ..kernels import is_increasing
from ..storage.arrays.validation import MAX_EXACT
from ..storage.sources.base import CSRBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..storage.sources.base import Source
    from .column_selector import ColumnChoice

__all__ = ["Reader", "SourceReader", "sum_repeated"]


def sum_repeated(stored: sparse.csr_matrix, source: Source) -> None:
    """Add up, in place, float64 entries of `source` that are stored for one place.

    Raises
    ------
    OOMError
        If they are integers, of which double precision does not hold a sum exactly.
    """
    n_stored = stored.nnz
    stored.sum_duplicates()
    is_long = source.dtype.kind in "iu" and source.dtype.itemsize == 8
    if is_long and stored.nnz < n_stored and np.abs(stored.data).max() >= MAX_EXACT:
        msg = (
            f"{source.location} holds several entries for one cell and gene, and their sum may exceed {MAX_EXACT}. "
            "scanpy-oom computes with float64, which is exact for integers up to this number only. Read the file "
            "without `backed='oom'`."
        )
        raise OOMError(msg)


class Reader(ABC):
    """Rows of a source, row-compressed, with increasing columns.

    Attributes
    ----------
    columns
        Columns of the source that are fed, ascending: number `j` in what is read stands for `columns[j]`. None for all.
    at_hand
        Whether what it readers is in memory already and so little that threads would take longer to begin.
    """

    columns: NDArray[np.intp] | None = None
    at_hand: bool = False

    @abstractmethod
    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the stored entries of each of these rows of the source, at most."""

    def pieces(self, rows: NDArray[np.intp]) -> NDArray[np.integer] | None:
        """Return in which piece of the storage each row lies, where pieces are decoded as a whole."""
        return None

    @abstractmethod
    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        """Fetch rows of the source, ascending and each once; of their columns those of `choice`, if it is given."""


class SourceReader(Reader):
    """The rows of a source as it stores them, with one entry for each place.

    Parameters
    ----------
    source
        What is read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source.prepared()

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        offsets = self._source.row_offsets()
        return np.subtract(offsets[rows + 1], offsets[rows], dtype=np.int64)

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        raw = self._read(rows)
        return raw if choice is None else choice.select(raw)

    def _read(self, rows: NDArray[np.intp]) -> CSRBlock:
        in_a_row = rows.size > 0 and rows[-1] - rows[0] == rows.size - 1
        raw = self._source.read_rows(slice(int(rows[0]), int(rows[-1]) + 1) if in_a_row else rows)
        if is_increasing(raw.indptr, raw.indices):
            return raw
        # entries stored for one place count as their sum; the order of columns is of no account
        shape = (raw.indptr.size - 1, self._source.shape[1])
        summed = sparse.csr_matrix((raw.data, raw.indices, raw.indptr), shape=shape)
        sum_repeated(summed, self._source)
        return CSRBlock(summed.indptr.astype(np.int64), summed.indices.astype(np.int32), summed.data)
