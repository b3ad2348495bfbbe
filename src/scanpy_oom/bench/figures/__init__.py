"""The figures, as PNG and SVG."""

from __future__ import annotations

__all__: list[str] = []
