"""The matrix that stays on disk: one source, one selection, a chain of transforms."""

from __future__ import annotations

from . import helpers as helpers
from .accessor import OOMAccessor
from .oommatrix import OOMMatrix
from .registrations import holds_oom, root_of, underlying

__all__ = ["OOMAccessor", "OOMMatrix", "holds_oom", "root_of", "underlying"]
