"""What the parts of :class:`~scanpy_oom.matrix.OOMMatrix` know of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .oommatrix import OOMMatrix

__all__ = ["Mixin"]


class Mixin:
    """A part of the methods of an :class:`~scanpy_oom.matrix.OOMMatrix`, in a file of its own."""

    shape: tuple[int, int]
    dtype: np.dtype
    is_dense: bool
    mirror: OOMMatrix | None

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that this would take in memory at most."""
        raise NotImplementedError

    @property
    def _matrix(self) -> OOMMatrix:
        return self  # type: ignore[return-value]
