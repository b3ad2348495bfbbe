"""Passes on a device: blocks are sent, transformed and reduced there, by the array implementations of reductions.

Modules here import `engine`, `matrix` and `storage`; only `cuda` imports CuPy.
"""

from __future__ import annotations

__all__: list[str] = []
