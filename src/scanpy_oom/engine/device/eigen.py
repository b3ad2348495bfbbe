"""Eigenpairs of a matrix that is held explicitly, on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import messages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .device import Device

__all__ = ["leading_eigh"]

COPIES = 4
"""Matrices of the same size that it takes room for."""


def leading_eigh(
    matrix: NDArray[np.float64], k: int, device: Device
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Compute the `k` largest eigenvalues of a symmetric matrix, ascending, and their vectors.

    Returns
    -------
    Values `(k,)` and vectors `(n, k)`; None if there is no room for the matrix.
    """
    if COPIES * matrix.nbytes > device.memory:
        messages.info(f"The Gram matrix has no room on {device.title}: its eigenpairs are found on the CPU.")
        return None
    with device.working():
        values, vectors = device.xp.linalg.eigh(device.xp.asarray(matrix))
        found = device.fetch(values[-k:]), device.fetch(device.xp.ascontiguousarray(vectors[:, -k:]))
        device.mark()()
    return found
