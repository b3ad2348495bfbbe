"""The questions that a matrix asks of its values, answered by passes."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    from ..storage.abc import Values
    from .inplace.places import Places
    from .known_statistics import Statistics
    from .methods.base import Held
    from .oommatrix import OOMMatrix

__all__ = ["TO_ARRAY", "Engine", "Extrema", "engine"]


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
        """True if all are whole numbers."""

    @property
    def any_negative(self) -> bool:
        """True if one is below zero."""


class Engine(Protocol):
    """Questions about a matrix as a whole. Each answer costs at most one pass, none if it is known."""

    def collect(
        self, matrix: OOMMatrix, *, dense: bool, what: str, order: Literal["C", "F"] = "C"
    ) -> sparse.csr_matrix | Values:
        """Bring the values into memory; an array in an order of NumPy's."""

    def statistics(self, matrix: OOMMatrix, *names: str) -> Statistics:
        """Sums, squares and counts by row and column: the named ones, or all."""

    def extrema(self, matrix: OOMMatrix) -> Extrema:
        """Smallest and largest value, and whether all are whole numbers."""

    def axis_extrema(self, matrix: OOMMatrix, axis: int) -> NDArray[np.float64]:
        """Smallest and largest values along an axis, `(2, n)`."""

    def squared_deviations(self, matrix: OOMMatrix, axis: int | None) -> np.float64 | NDArray[np.float64]:
        """Sums of squared differences from the mean, along an axis or of all values."""

    def stored_counts(self, matrix: OOMMatrix, axis: int) -> NDArray[np.int64]:
        """Numbers of stored values along an axis, zeros that are stored among them."""

    def right_product(self, matrix: OOMMatrix, factors: Values | sparse.csr_matrix) -> Held:
        """Matrix times a dense or sparse `(n_columns, k)`, in double precision."""

    def left_product(self, matrix: OOMMatrix, factors: Values | sparse.csr_matrix) -> Held:
        """Matrix transposed times a dense or sparse `(n_rows, k)`, in double precision."""

    def transpose(self, matrix: OOMMatrix) -> OOMMatrix:
        """Rows and columns exchanged, lazily."""

    def announce(self, operation: str, matrix: OOMMatrix, nbytes: int, reason: str) -> None:
        """Make sure that values fit in memory, and say that an operation brings them there."""

    def assigned(self, matrix: OOMMatrix, places: Places) -> OOMMatrix:
        """Other values at some places: a patch over the matrix, or a changed copy in scratch space."""

    def keep_changed(self, values: Held, like: OOMMatrix) -> OOMMatrix:
        """Keep values that were changed in memory, in compact form, as a matrix that takes the place of another."""

    def write(self, matrix: OOMMatrix, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, object]) -> None:
        """Write the values to a file, in anndata's layout."""


TO_ARRAY = "conversion to an array"
"""Name of conversions that no script asks for by name, as in ``numpy.asarray`` and most of NumPy."""

_HOME = "scanpy_oom.queries.answers"


@cache
def engine() -> Engine:
    """Return what runs passes: :mod:`scanpy_oom.queries`, which stands above and is named, not imported."""
    found: Engine = importlib.import_module(_HOME).ENGINE
    return found
