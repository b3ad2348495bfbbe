"""The graph that is laid out: connectivities as they are, and which of their entries count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels import connected_components, is_symmetric

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["LayoutGraph"]

TOLERANCE = 1e-3
"""Part of a weight by which it may differ from that of the same edge in the other direction."""


@dataclass(frozen=True)
class LayoutGraph:
    """A graph with weights, and the least weight that counts.

    Parameters
    ----------
    connectivities
        CSR, in the order of columns within rows, without duplicates.
    n_epochs
        Number of epochs of the layout. An edge that it would never use does not count.
    """

    connectivities: sparse.csr_matrix | sparse.csr_array
    n_epochs: int

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Offsets of rows, columns, weights: what kernels take."""
        matrix = self.connectivities
        return matrix.indptr, matrix.indices, matrix.data

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        n: int = self.connectivities.shape[0]
        return n

    @cached_property
    def largest(self) -> float:
        """The largest weight."""
        return float(self.connectivities.data.max(initial=0))

    @property
    def least(self) -> float:
        """The least weight that counts; as in umap-learn, of few epochs it is that of as many as are usual."""
        n_epochs = self.n_epochs if self.n_epochs > 10 else default_epochs(self.n_vertices)
        data = self.connectivities.data
        return float(data.dtype.type(self.largest) / data.dtype.type(n_epochs)) or np.finfo(data.dtype).tiny

    def is_symmetric(self) -> bool:
        """Return whether each edge has the same weight in both directions, nearly."""
        return bool(is_symmetric(self.arrays, TOLERANCE))

    def components(self) -> tuple[int, NDArray[np.int32]]:
        """Return how many components there are, and which one each vertex is in."""
        labels = np.empty(self.n_vertices, dtype=np.int32)
        return connected_components(self.arrays, self.least, labels), labels


def default_epochs(n_vertices: int) -> int:
    """Return how many epochs a layout has, unless it is said."""
    return 500 if n_vertices <= 10_000 else 200
