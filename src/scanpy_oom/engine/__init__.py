"""Passes: rows are partitioned, read, transformed and reduced, on threads, a device or a cluster.

Modules here import `matrix`, `kernels` and `storage`, and no reduction: these are handed in.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from . import choice

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["choice"]


class _Engine(ModuleType):
    """The package, which can be called as the function of its name: ``scanpy_oom.engine(client)``."""

    def __call__(self, engine: object) -> AbstractContextManager[None]:
        return choice.engine(engine)


sys.modules[__name__].__class__ = _Engine
