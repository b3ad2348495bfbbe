"""Where a layout begins: spectral, by component where there are several; at random; or at given positions.

Scales, noise and the places of components are those of umap-learn, and where its draws are all that matters they are
made as it makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .spectral import SpectralLayout

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .graph import LayoutGraph

    Centroids = Callable[[int, NDArray[np.int32]], NDArray[np.float64]]
    """From the number of components and the labels of vertices, distances between the components' centroids."""

__all__ = ["from_positions", "random", "rescaled", "spectral"]

SPREAD = 10.0
"""Largest coordinate of a start, and the width of the box that it is fitted to."""

NOISE = 1e-4
"""Standard deviation of what is added to a spectral start, lest vertices lie on each other."""


def random(n_vertices: int, dim: int, state: np.random.RandomState) -> NDArray[np.float32]:
    """Draw positions."""
    return state.uniform(-SPREAD, SPREAD, (n_vertices, dim)).astype(np.float32)


def spectral(
    graph: LayoutGraph, dim: int, state: np.random.RandomState, centroid_distances: Centroids
) -> NDArray[np.float32]:
    """Place vertices by eigenvectors of the graph.

    Parameters
    ----------
    graph
        The graph.
    dim
        Number of dimensions.
    state
        Where noise is drawn from.
    centroid_distances
        Called where there are more than `2 * dim` components, whose places depend on how far they are from each other.
    """
    n_components, labels = graph.components()
    layout = SpectralLayout(graph, dim)
    if n_components == 1:
        positions = layout.of_component(np.arange(graph.n_vertices, dtype=np.int32))
    else:
        places = _places(n_components, dim, state, lambda: centroid_distances(n_components, labels))
        positions = _by_component(layout, labels, places, state)
    positions *= np.float32(SPREAD / np.abs(positions).max())
    positions += state.normal(scale=NOISE, size=positions.shape).astype(np.float32)
    return positions


def _places(
    n_components: int, dim: int, state: np.random.RandomState, distances: Callable[[], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the places of components: on the axes where there are few, else by how near their centroids are."""
    if n_components <= 2 * dim:
        k = -(-n_components // 2)
        base = np.eye(k, dim)
        return np.vstack([base, -base])[:n_components]
    from sklearn.manifold import SpectralEmbedding

    affinity = np.exp(-(distances() ** 2))
    places: NDArray[np.float64] = SpectralEmbedding(dim, affinity="precomputed", random_state=state).fit_transform(
        affinity
    )
    return places / places.max()


def _by_component(
    layout: SpectralLayout, labels: NDArray[np.int32], places: NDArray[np.float64], state: np.random.RandomState
) -> NDArray[np.float32]:
    """Lay out each component around its place, half as wide as the way to the next one."""
    n_components, dim = places.shape
    positions = np.empty((labels.size, dim), dtype=np.float32)
    by_component = np.argsort(labels, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(labels, minlength=n_components))
    for place, rows in zip(places, np.split(by_component, ends[:-1]), strict=True):
        distances = np.linalg.norm(places - place, axis=1)
        reach = distances[distances > 0].min() / 2
        if rows.size < 2 * dim or rows.size <= dim + 1:
            positions[rows] = state.uniform(-reach, reach, (rows.size, dim)) + place
        else:
            vectors = layout.of_component(rows)
            positions[rows] = vectors * (reach / np.abs(vectors).max()) + place
    return positions


def from_positions(given: NDArray[np.floating], state: np.random.RandomState) -> NDArray[np.floating]:
    """Begin at given positions, moved a little if some are the same."""
    if np.unique(given, axis=0).shape[0] == given.shape[0]:
        return given
    from sklearn.neighbors import KDTree

    distances, _ = KDTree(given).query(given, k=2)
    noise = state.normal(scale=0.001 * np.mean(distances[:, 1]), size=given.shape)
    return given + noise.astype(np.float32)


def rescaled(positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """Fit positions to a box, axis by axis."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    width = np.where(high > low, high - low, 1)  # all in one place stay there
    return (SPREAD * (positions - low) / width).astype(np.float32, order="C")
