"""``anndata.concat`` of matrices that are on disk: one below the other lazily, side by side in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...engine.budget import announce, require
from ...engine.sources.joined import below_one_another
from ...matrix import OOMMatrix
from ...matrix.methods.in_memory import sparse_arrays
from ...storage.sources.base import is_supported_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    Rows: TypeAlias = sparse.csr_matrix | sparse.csr_array | np.ndarray
    Matrix: TypeAlias = OOMMatrix | Rows

__all__ = ["concat_arrays"]


def concat_arrays(
    function: Callable[..., Rows],
    arrays: Sequence[Matrix],
    reindexers: Sequence[Callable[..., Rows]],
    axis: int = 0,
    index: object = None,
    fill_value: object = None,
    **kwargs: object,
) -> object:
    """Join matrices of which one at least is out of memory.

    What anndata makes of one row of zeros of each tells dtype and format of the result, and what stands in columns that
    a matrix lacks; what it makes of the columns' numbers, where each column goes.

    Parameters
    ----------
    function
        anndata's own `concat_arrays`.
    arrays, reindexers, axis, index, fill_value, kwargs
        Its arguments. A reindexer brings the columns of a matrix in line with those of the result.

    Returns
    -------
    An :class:`~scanpy_oom.OOMMatrix`. If columns are to be joined side by side (``axis=1``), or the result is no
    matrix of numbers, what anndata gives for the matrices in memory.

    Raises
    ------
    MemoryBudgetExceeded
        If they are to be brought there, and take more than ``settings.memory_limit``.
    """
    rest = {"index": index, "fill_value": fill_value, **kwargs}
    if axis != 0:
        reason = "joining along `axis=1` is not done out of memory"
        return _in_memory(function, arrays, reindexers, axis, rest, reason)
    if not all(_is_matrix(array) for array in arrays):
        kinds = ", ".join(sorted({type(array).__name__ for array in arrays}))
        return _in_memory(function, arrays, reindexers, axis, rest, f"there is a matrix of another kind among {kinds}")
    rows = function([_one_row(array) for array in arrays], reindexers, axis=0, **rest)
    if not is_supported_dtype(rows.dtype):
        reason = f"the result holds values of the type {rows.dtype}"
        return _in_memory(function, arrays, reindexers, axis, rest, reason)
    columns = [_columns(array.shape[1], reindexer) for array, reindexer in zip(arrays, reindexers, strict=True)]
    return below_one_another(
        [array if isinstance(array, OOMMatrix) else OOMMatrix.from_memory(array) for array in arrays],
        columns,
        lambda k: _dense(rows[k : k + 1]),
        rows.dtype,
        type(rows),
    )


def _is_matrix(array: Matrix) -> bool:
    if isinstance(array, OOMMatrix):
        return True
    is_array = isinstance(array, np.ndarray) or sparse.issparse(array)
    return is_array and array.ndim == 2 and is_supported_dtype(array.dtype)


def _one_row(array: Matrix) -> Rows:
    """Return a row of zeros like those of `array`, in the type that anndata would have in memory."""
    shape = (1, array.shape[1])
    if isinstance(array, np.ndarray) or (isinstance(array, OOMMatrix) and array.is_dense):
        return np.zeros(shape, dtype=array.dtype)
    is_array = sparse_arrays(array) if isinstance(array, OOMMatrix) else isinstance(array, sparse.sparray)
    kind = sparse.csr_array if is_array else sparse.csr_matrix
    return kind(shape, dtype=array.dtype)


def _columns(n: int, reindexer: Callable[..., Rows]) -> NDArray[np.intp]:
    """Return which of `n` columns stands in each column of the result; -1 for none."""
    numbers = sparse.csr_matrix(np.arange(1, n + 1)[None, :])
    return _dense(reindexer(numbers, axis=1, fill_value=0)).astype(np.intp) - 1


def _dense(row: Rows) -> np.ndarray:
    return np.asarray(row if isinstance(row, np.ndarray) else row.toarray()).reshape(-1)


def _in_memory(
    function: Callable[..., Rows],
    arrays: Sequence[Matrix],
    reindexers: Sequence[Callable[..., Rows]],
    axis: int,
    rest: dict[str, object],
    reason: str,
) -> object:
    """Run anndata's own function on matrices brought into memory, which is said."""
    what = " and ".join(dict.fromkeys(array.source.location for array in arrays if isinstance(array, OOMMatrix)))
    nbytes = 2 * sum(array.nbytes_in_memory for array in arrays if isinstance(array, OOMMatrix))
    advice = "Join fewer cells or genes, or write the result of each part to a file."
    require(nbytes, f"anndata.concat, which needs {what} in memory ({reason}),", advice)
    announce("anndata.concat", what, nbytes, reason)
    in_memory = [array.to_memory() if isinstance(array, OOMMatrix) else array for array in arrays]
    return function(in_memory, reindexers, axis=axis, **rest)
