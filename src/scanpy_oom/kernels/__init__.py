"""Compiled loops over arrays, each beside a plain reference version (:mod:`scanpy_oom.kernels.reference`).

Kernels take arrays and nothing else. They release the GIL, are cached on disk, and are compiled for
few signatures: positions are int64, column numbers int32, and values float64 once a block is decoded. Column numbers
index as unsigned numbers, so that the compiled loop does not ask whether they count from the end.
"""

from __future__ import annotations

from .. import jit as jit  # first: it finds a place for what is compiled
from .closest import distances_to, keep_closest, largest_value, nearby, unit_rows
from .codes import LONGEST_CODE, decode_counts, encode_counts
from .connectivities import (
    count_symmetric,
    fill_symmetric,
    gauss_weights,
    incoming_edges,
    median_squares,
    sort_neighbors,
    umap_weights,
)
from .deltas import decode_deltas, encode_deltas, narrow_counts
from .draws import sorted_choice
from .gram import accumulate_gram_dense, accumulate_gram_pairs, unpack_symmetric
from .graph import (
    chebyshev_step,
    connected_components,
    degrees,
    is_symmetric,
    subtract_from_panel,
    weighted_panel_sums,
)
from .layout import move_vertices, move_vertices_in_plane
from .leiden import (
    cluster_sums,
    count_merged_edges,
    members_of_clusters,
    merge_clusters,
    move_to_clusters,
    refine_clusters,
    renumber_clusters,
    shuffle_vertices,
)
from .nearest import keep_nearest, marked_among_nearest
from .pearson import pearson_deviations, pearson_residuals, pearson_zeros
from .products import left_product, low_rank, right_product
from .ranks import pair_rank_sums, partition_entries, rank_sums, scatter_keys
from .select import count_before, is_increasing, look_up, row_totals, select_columns, sort_columns, table_misses
from .statistics import (
    axis_statistics,
    extrema,
    group_clipped_sums,
    group_moments,
    group_sums,
    group_table_sums,
    group_welford,
    masked_row_sums,
    top_row_sums,
)
from .steps import STEPS, column_steps, subtract_columns

__all__ = [
    "LONGEST_CODE",
    "STEPS",
    "accumulate_gram_dense",
    "accumulate_gram_pairs",
    "axis_statistics",
    "chebyshev_step",
    "cluster_sums",
    "column_steps",
    "connected_components",
    "count_before",
    "count_merged_edges",
    "count_symmetric",
    "decode_counts",
    "decode_deltas",
    "degrees",
    "distances_to",
    "encode_counts",
    "encode_deltas",
    "extrema",
    "fill_symmetric",
    "gauss_weights",
    "group_clipped_sums",
    "group_moments",
    "group_sums",
    "group_table_sums",
    "group_welford",
    "incoming_edges",
    "is_increasing",
    "is_symmetric",
    "keep_closest",
    "keep_nearest",
    "largest_value",
    "left_product",
    "look_up",
    "low_rank",
    "marked_among_nearest",
    "masked_row_sums",
    "median_squares",
    "members_of_clusters",
    "merge_clusters",
    "move_to_clusters",
    "move_vertices",
    "move_vertices_in_plane",
    "narrow_counts",
    "nearby",
    "pair_rank_sums",
    "partition_entries",
    "pearson_deviations",
    "pearson_residuals",
    "pearson_zeros",
    "rank_sums",
    "refine_clusters",
    "renumber_clusters",
    "right_product",
    "row_totals",
    "scatter_keys",
    "select_columns",
    "shuffle_vertices",
    "sort_columns",
    "sort_neighbors",
    "sorted_choice",
    "subtract_columns",
    "subtract_from_panel",
    "table_misses",
    "top_row_sums",
    "umap_weights",
    "unit_rows",
    "unpack_symmetric",
    "weighted_panel_sums",
]
