"""UMAP of a graph: where it begins, and how it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engine.runtime.progress import announce_compilation
from ..memory.ledger import ACCOUNTANT
from . import initial
from .graph import LayoutGraph, default_epochs
from .layout import optimize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from .initial import Centroids
    from .layout import Forces

__all__ = ["lay_out"]


def lay_out(
    connectivities: sparse.csr_matrix | sparse.csr_array,
    forces: Forces,
    init: str | NDArray[np.floating],
    *,
    dim: int,
    n_epochs: int | None,
    state: np.random.RandomState,
    centroid_distances: Centroids,
) -> NDArray[np.float32]:
    """Lay out a graph as UMAP does.

    The layout has the objective of umap-learn, its epochs, learning rate, use of edges, draws of other vertices, and
    beginning. It is the same for any number of threads.

    Parameters
    ----------
    connectivities
        `(n, n)` weights, the same in both directions, without duplicates.
    forces
        How vertices move.
    init
        `"spectral"`, `"random"`, or positions.
    dim
        Number of dimensions, of positions that are not given.
    n_epochs
        Number of epochs; `None` for as many as umap-learn takes.
    state
        Where noise and draws come from.
    centroid_distances
        See :func:`scanpy_oom.embedding.initial.spectral`.
    """
    n = connectivities.shape[0]
    graph = LayoutGraph(connectivities, default_epochs(n) if n_epochs is None else n_epochs)
    with announce_compilation():
        if not isinstance(init, str):
            positions = initial.from_positions(init, state)
        elif init == "random":
            positions = initial.random(n, dim, state)
        else:
            positions = initial.spectral(graph, dim, state, centroid_distances)
        high, low, _ = state.randint(-(2**31), 2**31 - 1, 3).astype(np.int64) & (2**32 - 1)
        positions = initial.rescaled(positions)
        ACCOUNTANT.hold(positions, "results", positions.nbytes)
        return optimize(graph, positions, forces, (int(high) << 32) | int(low))
