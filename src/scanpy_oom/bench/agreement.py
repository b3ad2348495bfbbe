"""Agreement of backends, from the saved results of their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from .results import Agreement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["compare"]

SAMPLE = 4000
"""Points of a layout that are looked at."""

NEIGHBORS = (15, 30)
"""Numbers of neighbours by which a layout is judged; what is told is the worse of the two."""


def compare(dataset: str, backend: str, reference: str, files: Mapping[str, Path]) -> Agreement:
    """Compare the results of two backends on the cells that both have kept.

    Parameters
    ----------
    dataset
        Name of the data set.
    backend, reference
        Names of the backends.
    files
        The `result.npz` of each.
    """
    with np.load(files[reference]) as a, np.load(files[backend]) as b:
        cells, others = _numbered(a["cells"]), _numbered(b["cells"])
        at = cells.get_indexer(others)
        left, right = at[at >= 0], np.flatnonzero(at >= 0)
        record = Agreement(dataset, backend, reference, cells=_shared(cells, others))
        if "genes" in a and "genes" in b:
            record.genes = _shared(pd.Index(a["genes"]), pd.Index(b["genes"]))
        if "pca" in a and "pca" in b and left.size:
            x, y = a["pca"][left].astype(float), b["pca"][right].astype(float)
            record.components, record.subspace = smallest_correlation(x, y), canonical_correlation(x, y)
        if "clusters" in a and "clusters" in b and left.size:
            record.clusters = float(adjusted_rand_score(a["clusters"][left], b["clusters"][right]))
        if "pca" in b and "neighbors" in b:
            record.recall = recall(b["pca"], b["some"], b["neighbors"])
        if all("umap" in found and "pca" in found for found in (a, b)):
            parts = [np.divide(_quality(b, k), _quality(a, k)) for k in NEIGHBORS]
            record.trustworthiness, record.preservation = map(float, np.min(parts, axis=0))
    return record


def recall(points: NDArray[np.floating], some: NDArray[np.intp], found: NDArray[np.integer]) -> float:
    """Return the part of the nearest neighbours of some points that were found, among as many as were found."""
    true = NearestNeighbors(algorithm="brute").fit(points).kneighbors(points[some], found.shape[1] + 1, False)  # noqa: FBT003
    hits, total = 0, 0
    for cell, nearest, told in zip(some, true, found, strict=True):
        others = nearest[nearest != cell][: np.count_nonzero(told >= 0)]
        hits, total = hits + np.intersect1d(others, told).size, total + others.size
    return hits / total if total else 1.0


def _quality(found: Mapping[str, NDArray[Any]], k: int) -> tuple[float, float]:
    return layout_quality(found["pca"], found["umap"], k)


def layout_quality(points: NDArray[np.floating], layout: NDArray[np.floating], k: int) -> tuple[float, float]:
    """Return trustworthiness, and the part of the `k` nearest neighbours that a layout keeps, of some points."""
    some = np.sort(np.random.default_rng(0).permutation(len(points))[:SAMPLE])
    k = min(k, len(some) // 2 - 1)
    sets = [NearestNeighbors(n_neighbors=k).fit(x[some]).kneighbors(return_distance=False) for x in (points, layout)]
    kept = np.mean([np.intersect1d(one, other).size / k for one, other in zip(*sets, strict=True)])
    return float(trustworthiness(points[some], layout[some], n_neighbors=k)), float(kept)


def _numbered(names: NDArray[np.str_]) -> pd.MultiIndex:
    """Return each name with how often it came before: what has the same name is told apart by its order."""
    return pd.MultiIndex.from_arrays([names, pd.Series(names).groupby(names).cumcount()])


def _shared(a: pd.Index, b: pd.Index) -> float:
    """Return the share of the names in either that are in both; 1 if there are none."""
    either = a.union(b).size
    return a.intersection(b).size / either if either else 1.0


def smallest_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the smallest absolute correlation of columns with the same number."""
    n = min(x.shape[1], y.shape[1])
    x, y = x[:, :n] - x[:, :n].mean(axis=0), y[:, :n] - y[:, :n].mean(axis=0)
    norms = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    return float(np.min(np.abs((x * y).sum(axis=0)) / norms))


def canonical_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the mean correlation of the closest directions in the spaces that the columns span.

    These are the singular values of the product of orthonormal bases of both.
    """
    bases = [np.linalg.qr(z - z.mean(axis=0))[0] for z in (x, y)]
    return float(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean())
