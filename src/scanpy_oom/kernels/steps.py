"""Elementwise steps that depend on the column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STEPS", "column_steps", "subtract_columns"]

STEPS = ("subtract", "divide", "minimum", "maximum", "fmin")
"""Ufuncs that :func:`column_steps` knows by their positions here."""


@nb.njit(nogil=True, cache=True, error_model="numpy")
def column_steps(
    indices: NDArray[np.int32],
    steps: NDArray[np.int64],
    operands: NDArray[np.float64],
    single: NDArray[np.bool_],
    values: NDArray[np.float64],
) -> None:
    """Run steps on the values of a block, each with one operand a column.

    Parameters
    ----------
    indices
        `(nnz,)` columns of the values.
    steps
        `(n_steps,)` positions in :data:`STEPS`.
    operands
        `(n_steps, n_columns)`.
    single
        `(n_steps,)`: whether results are rounded to single precision.
    values
        `(nnz,)`, replaced.
    """
    for k in range(steps.size):
        y, rounds = operands[k], single[k]
        if steps[k] == 0:
            for p in range(np.uint64(values.size)):
                values[p] = _rounded(values[p] - y[np.uint32(indices[p])], rounds)
        elif steps[k] == 1:
            for p in range(np.uint64(values.size)):
                values[p] = _rounded(values[p] / y[np.uint32(indices[p])], rounds)
        elif steps[k] == 2:
            for p in range(np.uint64(values.size)):
                values[p] = _rounded(np.minimum(values[p], y[np.uint32(indices[p])]), rounds)
        elif steps[k] == 3:
            for p in range(np.uint64(values.size)):
                values[p] = _rounded(np.maximum(values[p], y[np.uint32(indices[p])]), rounds)
        else:
            for p in range(np.uint64(values.size)):
                values[p] = _rounded(np.fmin(values[p], y[np.uint32(indices[p])]), rounds)


@nb.njit(nogil=True, cache=True)
def subtract_columns(
    indices: NDArray[np.int32], values: NDArray[np.float64], operand: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Subtract one number a column from the values of a block.

    Parameters
    ----------
    indices
        `(nnz,)` columns of the values.
    values
        `(nnz,)`.
    operand
        `(n_columns,)`.
    out
        `(nnz,)`, overwritten.
    """
    for p in range(np.uint64(values.size)):
        out[p] = values[p] - operand[np.uint32(indices[p])]


@nb.njit(nogil=True, cache=True)
def _rounded(x: float, single: bool) -> float:  # noqa: FBT001
    return np.float64(np.float32(x)) if single else x
