"""Transforms: the steps of a lazy chain, as data.

Modules here import kernels and selections.
"""

from __future__ import annotations

from .base import Transform
from .by_axis import ByColumn, ByRow
from .elementwise import Cast, Elementwise
from .normalize import NormalizeTotal, RowTotals

__all__ = ["ByColumn", "ByRow", "Cast", "Elementwise", "NormalizeTotal", "RowTotals", "Transform"]
