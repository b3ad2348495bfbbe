"""UMAP's layout of a graph, straight from its CSR arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..engine.runtime.threads import loops
from ..kernels import move_vertices, move_vertices_in_plane
from ..kernels.layout import tabulate
from ..memory.ledger import ACCOUNTANT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .graph import LayoutGraph

__all__ = ["Forces", "optimize"]

STEPS = 16
"""Steps of an epoch. In each, every so-many-th vertex is moved, while the others stay.

In one step alone, neighbours would jump past each other, each of them drawn to where the other one was.
"""


NEAR = 0.001
"""Added to squared distances, lest vertices that lie on each other are driven infinitely far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forces:
    """How vertices move.

    Parameters
    ----------
    a, b
        Of the curve (:func:`scanpy_oom.embedding.curve.find_ab_params`).
    gamma
        Strength of what drives vertices away from each other.
    alpha
        Learning rate in the beginning.
    negative_sample_rate
        Vertices drawn for each use of an edge.
    """

    a: float
    b: float
    gamma: float = 1.0
    alpha: float = 1.0
    negative_sample_rate: float = 5

    def attraction(self, square: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the difference from a neighbour is multiplied by, from squared distances."""
        a, b = self.a, self.b
        return -2 * a * b * square ** (b - 1) / (1 + a * square**b)

    def repulsion(self, square: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the difference from a vertex that was drawn is multiplied by."""
        return 2 * self.gamma * self.b / ((NEAR + square) * (1 + self.a * square**self.b))


def optimize(graph: LayoutGraph, positions: NDArray[np.float32], forces: Forces, seed: int) -> NDArray[np.float32]:
    """Move vertices for all epochs, in place.

    In each epoch an edge is used if by then its share of the largest weight, times the number of the epoch, has passed
    another whole number. It then draws both of its vertices to each other; and each of them draws others, from which
    it is driven away. All this is umap-learn's, as is the learning rate; what differs is the order.

    Parameters
    ----------
    graph
        The graph.
    positions
        `(n, dim)` where its vertices begin.
    forces
        How they move.
    seed
        Where their draws begin.
    """
    n, dim = positions.shape
    n_steps, begin = min(STEPS, n), np.uint64(seed)
    tables = tabulate(forces.attraction), tabulate(forces.repulsion)
    move: Callable[..., None] = move_vertices_in_plane if dim == 2 else move_vertices
    moved = np.empty((-(-n // n_steps), dim), dtype=np.float32)

    def work(first: int, last: int, *, step: tuple[int, int], epoch: int, alpha: float) -> None:
        rates = alpha, float(forces.negative_sample_rate)
        move(graph.arrays, positions, moved, (*step, first, last), (epoch, begin), rates, tables, graph.largest)

    with ACCOUNTANT.reserve(workspace=moved.nbytes), loops() as loop:
        for epoch in range(1, graph.n_epochs):  # in the first one no edge is used
            alpha = forces.alpha * (1 - (epoch - 1) / graph.n_epochs)
            for offset in range(n_steps):
                count = len(range(offset, n, n_steps))
                loop(partial(work, step=(offset, n_steps), epoch=epoch, alpha=alpha), count)
                positions[offset::n_steps] = moved[:count]
    return positions
