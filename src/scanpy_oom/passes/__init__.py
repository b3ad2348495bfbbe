"""Streaming reads: plans, reductions, and the threads that run them."""

from __future__ import annotations

from .engine import ENGINE, ThreadsEngine
from .moments import AxisStatistics, GroupMoments, Moments
from .products import ClassSums, Gram, GramProduct, LeftProduct, RightProduct
from .reductions import Reduction
from .rowwise import HighlyExpressed, SetSums, TopSums
from .run import Request, run

__all__ = [
    "ENGINE",
    "AxisStatistics",
    "ClassSums",
    "Gram",
    "GramProduct",
    "GroupMoments",
    "HighlyExpressed",
    "LeftProduct",
    "Moments",
    "Reduction",
    "Request",
    "RightProduct",
    "SetSums",
    "ThreadsEngine",
    "TopSums",
    "run",
]
