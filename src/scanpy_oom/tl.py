"""Functions beside those of `scanpy.tl`."""

from __future__ import annotations

from .overrides.tl._leiden import leiden_resolutions

__all__ = ["leiden_resolutions"]
