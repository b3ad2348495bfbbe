"""Streaming reads: plans, reductions, and the threads that run them."""

from __future__ import annotations

from .engine import ENGINE, ThreadsEngine
from .moments import AxisStatistics, GroupMoments, Moments
from .products import ClassSums, Gram, GramProduct, LeftProduct, RightProduct
from .reductions import Reduction
from .rowwise import HighlyExpressed, SetSums, TopSums
from .run import Request, run
from .welford import GroupMeanVar, GroupWelford

__all__ = [
    "ENGINE",
    "AxisStatistics",
    "ClassSums",
    "Gram",
    "GramProduct",
    "GroupMeanVar",
    "GroupMoments",
    "GroupWelford",
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
