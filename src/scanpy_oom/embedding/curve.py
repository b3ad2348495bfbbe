"""The curve that tells how near two vertices of a layout are held to be, by their distance."""

from __future__ import annotations

import numpy as np
from scipy.optimize import curve_fit

__all__ = ["find_ab_params"]


def find_ab_params(spread: float, min_dist: float) -> tuple[float, float]:
    """Return a and b of 1 / (1 + a * x ** (2 * b)), fitted as umap-learn fits them.

    Parameters
    ----------
    spread, min_dist
        The curve is 1 below `min_dist`, and beyond it falls by a factor of e for each `spread`.
    """
    x = np.linspace(0, spread * 3, 300)
    y = np.ones(x.shape)
    far = x >= min_dist
    y[far] = np.exp(-(x[far] - min_dist) / spread)
    (a, b), _ = curve_fit(lambda x, a, b: 1.0 / (1.0 + a * x ** (2 * b)), x, y)
    return a, b
