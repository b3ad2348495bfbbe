"""Compiled loops over arrays, each beside a plain reference version (:mod:`scanpy_oom.kernels.reference`).

Kernels take arrays and nothing else. They release the GIL, are cached on disk, and are compiled for
few signatures: positions are int64, column numbers int32, and values float64 once a block is decoded.
"""

from __future__ import annotations

from .gram import accumulate_gram_dense, accumulate_gram_pairs
from .products import left_product, right_product
from .statistics import extrema, group_moments, masked_row_sums, row_statistics, top_row_sums
from .transform import transform_rows

__all__ = [
    "accumulate_gram_dense",
    "accumulate_gram_pairs",
    "extrema",
    "group_moments",
    "left_product",
    "masked_row_sums",
    "right_product",
    "row_statistics",
    "top_row_sums",
    "transform_rows",
]
