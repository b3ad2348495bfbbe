"""Compiled loops over arrays, each beside a plain reference version (:mod:`scanpy_oom.kernels.reference`).

Kernels take arrays and nothing else. They release the GIL, are cached on disk, and are compiled for
few signatures: positions are int64, column numbers int32, and values float64 once a block is decoded. Column numbers
index as unsigned numbers, so that the compiled loop does not ask whether they count from the end.
"""

from __future__ import annotations

from .deltas import decode_deltas, encode_deltas, narrow_counts
from .gram import accumulate_gram_dense, accumulate_gram_pairs, unpack_symmetric
from .products import left_product, right_product
from .select import is_increasing, look_up, row_totals, select_columns
from .statistics import axis_statistics, extrema, group_moments, group_welford, masked_row_sums, top_row_sums

__all__ = [
    "accumulate_gram_dense",
    "accumulate_gram_pairs",
    "axis_statistics",
    "decode_deltas",
    "encode_deltas",
    "extrema",
    "group_moments",
    "group_welford",
    "is_increasing",
    "left_product",
    "look_up",
    "masked_row_sums",
    "narrow_counts",
    "right_product",
    "row_totals",
    "select_columns",
    "top_row_sums",
    "unpack_symmetric",
]
