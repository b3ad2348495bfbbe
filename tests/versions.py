"""What the installed scanpy has of what some versions have."""

from __future__ import annotations

from operator import attrgetter

import pytest
import scanpy as sc

from scanpy_oom._scanpy import SCANPY_1_13

__all__ = ["before_1_13", "has"]

before_1_13 = pytest.mark.skipif(SCANPY_1_13, reason="scanpy 1.13 does not have it any more")


def has(name: str) -> bool:
    """Tell whether scanpy has a function, by its name below ``scanpy``."""
    try:
        return callable(attrgetter(name)(sc))
    except AttributeError:
        return False
