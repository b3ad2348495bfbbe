"""Graphs of nearest neighbours of our own, for `settings.graph = "fast"` and for scikit-learn's way of searching.

What lives here takes a table of coordinates and gives neighbours, distances and connectivities, and knows no AnnData.
It may import kernels, the engine, settings and memory, and nothing of overrides and dispatcher.
"""

from __future__ import annotations

from .transformer import KNNTransformer

__all__ = ["KNNTransformer"]
