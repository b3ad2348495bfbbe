"""The matrix that stays on disk: one source, one selection, a chain of transforms."""

from __future__ import annotations

from .accessor import OOMAccessor
from .oommatrix import OOMMatrix
from .registrations import root_of, underlying

__all__ = ["OOMAccessor", "OOMMatrix", "root_of", "underlying"]
