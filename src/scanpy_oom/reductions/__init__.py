"""Reductions: sums, products, ranks and other results that a pass accumulates, with their array implementations.

Modules here import `engine`, `matrix`, `kernels` and `storage`; none imports CuPy.
"""

from __future__ import annotations

from .axis_statistics import AxisStatistics
from .clipped import GroupClippedSums
from .collect import CollectSparse
from .downsample import DownsampleRows, DownsampleTotal, RunningSum, sorted_draws
from .extrema import ColumnExtrema
from .gram import ClassSums, Gram, GramProduct
from .means import ColumnMeans
from .medians import GroupMedians
from .moments import GroupMoments, Moments
from .pearson import PearsonModel, PearsonVariances
from .products import LeftProduct, RightProduct
from .ranks import GroupRanks, RankSums
from .rowmap import MapRows
from .rowwise import HighlyExpressed, SetSums, TopSums
from .welford import GroupMeanVar, GroupWelford

__all__ = [
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
    "RightProduct",
    "RunningSum",
    "SetSums",
    "TopSums",
    "sorted_draws",
]
