"""Runs of rows, and the types of values that they may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..abc import Floats

__all__ = ["CSRBlock", "is_supported_dtype", "kernel_dtype", "stacked"]


@dataclass(slots=True, eq=False)
class CSRBlock:
    """A run of rows, row-compressed.

    The arrays belong to whoever asked for the block and may be overwritten. Within a row, columns come in the order
    in which they are stored: unsorted columns, duplicates and explicit zeros are legal.

    Parameters
    ----------
    indptr
        Where each row starts in `indices` and `data`: `(n_rows + 1,)`, starts at 0.
    indices
        Column numbers `(nnz,)`, each verified to be within `[0, n_cols)`.
    data
        Values `(nnz,)`, in float64 or in the :func:`kernel_dtype` of the matrix.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Floats


def stacked(blocks: Sequence[CSRBlock]) -> CSRBlock:
    """Put blocks one below the other."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return CSRBlock(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32), np.empty(0))
    lengths = np.concatenate([np.diff(block.indptr) for block in blocks])
    return CSRBlock(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([block.indices for block in blocks]),
        np.concatenate([block.data for block in blocks]),
    )


def is_supported_dtype(dtype: np.dtype) -> bool:
    """Return whether matrices of this dtype can be streamed: booleans, integers, floats of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def kernel_dtype(dtype: np.dtype) -> np.dtype[np.float32 | np.float64]:
    """Give the narrower of float32 and float64 in which kernels compute on values of `dtype`.

    float32 holds booleans, integers of up to 16 bits and floats of up to 32 bits exactly; everything else becomes
    float64.
    """
    narrow = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32) if narrow else np.dtype(np.float64)
