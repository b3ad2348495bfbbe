"""The figures, as PNG and SVG.

Modules here import results and matplotlib.
"""

from __future__ import annotations

__all__: list[str] = []
