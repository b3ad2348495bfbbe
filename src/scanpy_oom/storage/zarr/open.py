"""Opening a matrix in a Zarr store as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sources.open import open_matrix
from .store import ZarrStore

if TYPE_CHECKING:
    import os

    from ..sources.base import Source
    from .store import Stamp

__all__ = ["open_zarr"]


def open_zarr(path: str | os.PathLike[str], name: str = "/X", stamp: Stamp | None = None) -> Source:
    """Open one matrix of a store.

    Parameters
    ----------
    path
        The store.
    name
        Name of the matrix in it.
    stamp
        What the store must look like, when it was opened before.

    Raises
    ------
    KeyError
        If it holds no such matrix.
    TypeError
        If what it holds by that name cannot be streamed.
    """
    return open_matrix(ZarrStore(path, stamp), name)
