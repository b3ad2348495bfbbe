"""Tables of coordinates, and their neighbours by comparing all pairs in double precision."""

from __future__ import annotations

import numpy as np

__all__ = ["clustered", "recall", "spread", "true_neighbors"]


def clustered(n: int, d: int = 50, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Forty clusters, with less and less in each coordinate, as principal components have."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, d)) * 3 * np.exp(-np.arange(d) / 15)
    return (centers[rng.integers(0, 40, n)] + rng.normal(size=(n, d)) * np.exp(-np.arange(d) / 25)).astype(dtype)


def spread(n: int, d: int = 50, seed: int = 0) -> np.ndarray:
    """The hard case: no clusters, and as much in each coordinate."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def true_neighbors(x: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """The `k` nearest of some rows, themselves first; of equal ones those of lower number."""
    found = np.empty((len(rows), k), dtype=np.int64)
    wide = x.astype(np.float64)
    for place, row in enumerate(rows):
        squares = ((wide - wide[row]) ** 2).sum(axis=1)
        squares[row] = -1
        found[place] = np.argsort(squares, kind="stable")[:k]
    return found


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Part of the true neighbours that was found, without the points themselves."""
    hits = [np.isin(b[1:], a).sum() for a, b in zip(found, true, strict=True)]
    return sum(hits) / true[:, 1:].size
