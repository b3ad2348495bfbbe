"""Small matrices that go to libraries in memory, with their entries in the order that SciPy would leave them in.

Sums of products are rounded in the order of the entries, and so last bits depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...matrix.methods.in_memory import as_held
from ...queries.answers import ENGINE

if TYPE_CHECKING:
    from scipy import sparse

    from ...matrix import OOMMatrix
    from ...matrix.selection import Axis

__all__ = ["held_in_memory"]


def held_in_memory(x: OOMMatrix, what: str) -> sparse.csr_matrix | np.ndarray:
    """Bring a matrix into memory for `what`, as scanpy would have it there: type, format and order of entries.

    Raises
    ------
    MemoryBudgetExceeded
        If it takes more than ``settings.memory_limit``.
    """
    values = ENGINE.collect(x, dense=x.is_dense, what=what)
    if x.is_dense:
        return values
    held = as_held(x, values)
    return _as_stored(held, x.selection.columns if held.format == "csr" else x.selection.rows)


def _as_stored(held: sparse.csr_matrix | sparse.csc_matrix, chosen: Axis) -> sparse.csr_matrix | sparse.csc_matrix:
    """Put the entries of each row (column) in the order in which the source stores those of the `chosen` places.

    SciPy goes through what is stored and renumbers it, so that indices are not sorted where the order is another.
    """
    if chosen is None or (np.diff(chosen) > 0).all():
        return held
    major = np.repeat(np.arange(held.indptr.size - 1), np.diff(held.indptr))
    order = np.lexsort((chosen[held.indices], major))
    return type(held)((held.data[order], held.indices[order], held.indptr), shape=held.shape)
