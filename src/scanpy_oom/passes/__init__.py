"""Streaming reads: plans, reductions, and the threads that run them."""

from __future__ import annotations

from .clipped import GroupClippedSums
from .collect import CollectSparse
from .downsample import DownsampleRows, DownsampleTotal, SingleTotal
from .engine import ENGINE, ThreadsEngine
from .extrema import ColumnExtrema
from .means import ColumnMeans
from .medians import GroupMedians
from .moments import AxisStatistics, GroupMoments, Moments
from .pearson import PearsonModel, PearsonVariances
from .products import ClassSums, Gram, GramProduct, LeftProduct, RightProduct
from .ranks import GroupRanks, RankSums
from .reductions import Reduction
from .rowmap import MapRows
from .rowwise import HighlyExpressed, SetSums, TopSums
from .run import Request, run
from .welford import GroupMeanVar, GroupWelford

__all__ = [
    "ENGINE",
    "AxisStatistics",
    "ClassSums",
    "CollectSparse",
    "ColumnExtrema",
    "ColumnMeans",
    "DownsampleRows",
    "DownsampleTotal",
    "Gram",
    "GramProduct",
    "GroupClippedSums",
    "GroupMeanVar",
    "GroupMedians",
    "GroupMoments",
    "GroupRanks",
    "GroupWelford",
    "HighlyExpressed",
    "LeftProduct",
    "MapRows",
    "Moments",
    "PearsonModel",
    "PearsonVariances",
    "RankSums",
    "Reduction",
    "Request",
    "RightProduct",
    "SetSums",
    "SingleTotal",
    "ThreadsEngine",
    "TopSums",
    "run",
]
