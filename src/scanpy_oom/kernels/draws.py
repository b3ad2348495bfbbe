"""Random draws as scanpy's compiled functions make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sorted_choice"]


@nb.njit(nogil=True, cache=True)
def sorted_choice(seed: int, total: int, n: int, replace: bool) -> NDArray[np.int64]:  # noqa: FBT001
    """Draw `n` of the numbers below `total`, with numba's generator; ascending.

    numba's generator is not NumPy's: only it gives what scanpy's kernels draw for a seed.
    """
    np.random.seed(seed)
    drawn = np.random.choice(total, n, replace=replace)
    drawn.sort()
    return drawn
