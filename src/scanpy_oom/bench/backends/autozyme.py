"""scanpy in memory, some of whose functions autozyme replaces."""

from __future__ import annotations

import autozyme

from . import memory

__all__ = ["Workflow"]

autozyme.activate("scanpy")


class Workflow(memory.Workflow):
    """The steps: the calls are scanpy's."""
