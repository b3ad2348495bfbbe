"""Where a matrix finds the passes that answer questions about its values."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    from .oommatrix import OOMMatrix
    from .statistics import Statistics

__all__ = ["Engine", "Extrema", "engine", "set_engine"]


class Extrema(Protocol):
    """Facts about all values of a matrix."""

    @property
    def minimum(self) -> float:
        """Smallest value."""

    @property
    def maximum(self) -> float:
        """Largest value."""

    @property
    def all_whole(self) -> bool:
        """Whether all are whole numbers."""

    @property
    def any_negative(self) -> bool:
        """Whether one is below zero."""


class Engine(Protocol):
    """What can be asked of a matrix as a whole. Each answer costs at most one pass, none if it is known."""

    def collect(self, matrix: OOMMatrix, *, dense: bool, what: str) -> sparse.csr_matrix | NDArray:
        """Bring the values into memory."""

    def statistics(self, matrix: OOMMatrix, *names: str) -> Statistics:
        """Sums, squares and counts by row and column: the named ones, or all."""

    def extrema(self, matrix: OOMMatrix) -> Extrema:
        """Smallest and largest value, and whether all are whole numbers."""

    def axis_extrema(self, matrix: OOMMatrix, axis: int) -> NDArray[np.float64]:
        """Smallest and largest values along an axis, `(2, n)`."""

    def squared_deviations(self, matrix: OOMMatrix, axis: int | None) -> Any:
        """Sums of squared differences from the mean, along an axis or of all values."""

    def stored_counts(self, matrix: OOMMatrix, axis: int) -> NDArray[np.int64]:
        """Numbers of stored values along an axis, zeros that are stored among them."""

    def right_product(self, matrix: OOMMatrix, factors: NDArray | sparse.csr_matrix) -> Any:
        """Matrix times a dense or sparse `(n_columns, k)`, in double precision."""

    def left_product(self, matrix: OOMMatrix, factors: NDArray | sparse.csr_matrix) -> Any:
        """Matrix transposed times a dense or sparse `(n_rows, k)`, in double precision."""

    def transpose(self, matrix: OOMMatrix) -> OOMMatrix:
        """Rows and columns exchanged, lazily."""

    def announce(self, operation: str, matrix: OOMMatrix, nbytes: int, reason: str) -> None:
        """Make sure that values fit in memory, and say that an operation brings them there."""

    def write(self, matrix: OOMMatrix, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, Any]) -> None:
        """Write the values to a file, in anndata's layout."""


_DEFAULT = "scanpy_oom.passes.engine"
_engine: Engine | None = None


def set_engine(new: Engine | None) -> None:
    """Have `new` run passes from now on; None for the built-in one."""
    global _engine  # noqa: PLW0603
    _engine = new


def engine() -> Engine:
    """Return what runs passes; by default :mod:`scanpy_oom.passes`, which stands above: named, not imported."""
    if _engine is None:
        set_engine(importlib.import_module(_DEFAULT).ENGINE)
    assert _engine is not None
    return _engine
