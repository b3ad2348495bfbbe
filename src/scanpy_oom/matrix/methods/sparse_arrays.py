"""The arrays of which SciPy's sparse matrices consist, of a matrix that stays on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...memory.ledger import ACCOUNTANT
from ...settings import settings
from ...storage.lru import LRUCache
from .in_memory import run_in_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from ...storage.abc import Value
    from ..oommatrix import OOMMatrix
    from ..selection import Selection
    from ..transforms.chain import Chain

__all__ = ["forget_arrays", "stored_array"]

SHARE = 2
"""Share of the free memory that kept arrays may take."""

_KEY = "arrays"


class _Arrays(NamedTuple):
    """The three arrays, read-only."""

    data: NDArray[np.number]
    indices: NDArray[np.integer]
    indptr: NDArray[np.integer]


class _Kept:
    """Kept arrays, by the state they belong to. Empty where unpickled."""

    def __init__(self, selection: Selection | None = None, chain: Chain | None = None) -> None:
        self.selection = selection
        self.chain = chain
        self.cache: LRUCache[_Arrays] = LRUCache(0)

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


def stored_array(matrix: OOMMatrix, name: str, what: str | None = None) -> NDArray[Any]:
    """Return `data`, `indices` or `indptr` of a matrix as it would be in memory; read-only.

    What the source counts is known without a pass. The other two are brought into memory, which is said, and kept
    there for those who ask again, while they fit and until something needs the memory.

    Parameters
    ----------
    matrix
        A matrix that is sparse in memory.
    name
        Which of the three.
    what
        What was asked for, where that is something else than the array, as in ``"X.data.sum"``.
    """
    if name == "indptr" and (offsets := _known_offsets(matrix)) is not None:
        return _read_only(_as_in_memory(matrix, offsets))
    kept = _kept(matrix)
    arrays = kept.cache.get(_KEY)
    if arrays is None:
        arrays = run_in_memory(lambda values: _arrays(matrix, values), what or f"X.{name}", matrix)
        nbytes = sum(array.nbytes for array in arrays)
        if nbytes <= min(ACCOUNTANT.available() // SHARE, settings.memory_limit // SHARE):
            kept.cache.put(_KEY, arrays, nbytes)
    array: NDArray[Any] = getattr(arrays, name)
    return array


def forget_arrays(matrix: OOMMatrix) -> None:
    """Let go of the arrays that are kept of a matrix."""
    _kept(matrix).cache.clear()


def _kept(matrix: OOMMatrix) -> _Kept:
    """Return where arrays of what the matrix shows now are kept."""
    kept: _Kept | None = matrix.__dict__.get("_kept_arrays")
    if kept is None or kept.selection is not matrix.selection or kept.chain is not matrix.chain:
        kept = _Kept(matrix.selection, matrix.chain)
        matrix.__dict__["_kept_arrays"] = kept
    return kept


def _known_offsets(matrix: OOMMatrix) -> NDArray[np.int64] | None:
    """Return where each row (of a column-compressed matrix, column) starts, if the source says so; else None."""
    chain, selection, source = matrix.chain, matrix.selection, matrix.source
    by_columns = matrix.format == "csc"
    along, across = (selection.columns, selection.rows) if by_columns else (selection.rows, selection.columns)
    if matrix.transposed_of is not None or across is not None or source.format == "dense" or not source.nnz_is_exact:
        return None
    if chain.transforms and (chain.filling is not None or chain.fill_values is not None or chain.drops_zeros):
        return None
    offsets = source.column_offsets() if by_columns else source.row_offsets()
    if offsets is None:
        return None
    if along is None:
        return offsets.astype(np.int64)
    return np.append(0, np.cumsum(np.subtract(offsets[along + 1], offsets[along], dtype=np.int64)))


def _as_in_memory(matrix: OOMMatrix, offsets: NDArray[np.int64]) -> NDArray[np.integer]:
    """Hold offsets in the type that they have in memory."""
    largest = max(int(offsets[-1]), *matrix.shape)
    return offsets.astype(np.int32 if largest <= np.iinfo(np.int32).max else np.int64)


def _arrays(matrix: OOMMatrix, values: sparse.csr_matrix) -> _Arrays:
    """Take the arrays of the values in memory.

    Entries of the source for one place were added up. In memory they are stored one by one: so that offsets are the
    same whoever asks first, zeros stand for those that follow the first.
    """
    data, indices, indptr = values.data, values.indices, values.indptr
    offsets = _known_offsets(matrix)
    if offsets is not None and offsets[-1] != indptr[-1]:
        missing = np.diff(offsets) - np.diff(indptr)
        rows = np.repeat(np.arange(missing.size), missing)
        at = indptr[1:][rows]
        data, indices = np.insert(data, at, 0), np.insert(indices, at, indices[at - 1])
        indptr = _as_in_memory(matrix, offsets)
    return _Arrays(*(_read_only(array) for array in (data, indices, indptr)))


def _read_only(array: NDArray[Value]) -> NDArray[Value]:
    array.flags.writeable = False
    return array
