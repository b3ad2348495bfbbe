"""Large arrays that give their memory back at once."""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["mapped_zeros"]


def mapped_zeros(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return zeros in a mapping of their own.

    What is allocated in worker threads and freed later may stay with the C library; a mapping goes back to the system
    when the array is gone.
    """
    size = math.prod(shape)
    if not size:
        return np.zeros(shape)
    return np.frombuffer(mmap.mmap(-1, 8 * size), dtype=np.float64).reshape(shape)
