"""scanpy-oom with ``settings.graph = "fast"``: the calls are those of its other run."""

from __future__ import annotations

from .oom import Workflow

__all__ = ["Workflow"]
