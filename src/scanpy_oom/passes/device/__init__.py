"""Passes on a GPU: what a pass accumulates, in terms of arrays that may be NumPy's or CuPy's."""

from __future__ import annotations

__all__: list[str] = []
