"""The scanpy functions that read or write a whole expression matrix, and what runs them out of memory.

Not here are functions that take a few rows or columns by indexing (``sc.get.obs_df``, ``sc.pp.sample``, most of
``sc.pl``) and those that reach the matrix only through functions that are here (``sc.pp.recipe_zheng17``,
``sc.tl.score_genes_cell_cycle``): they work on an :class:`~scanpy_oom.OOMMatrix` as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import rules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUILTIN", "Override"]


@dataclass(frozen=True, slots=True)
class Override:
    """What runs one scanpy function on data that stay on disk.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``, as in ``"pp.log1p"``.
    implementation
        A function with the same signature, or where it is (``"package.module:function"``). It raises
        :class:`~scanpy_oom.UnsupportedOutOfMemory` for arguments that it does not cover, before it changes anything.
        `None` if there is none yet: then scanpy's own function runs, with the matrices that it uses in memory.
    uses
        Which matrices a call would use (see :mod:`scanpy_oom.dispatch.rules`).
    plan
        A function that takes the same arguments and returns the :class:`~scanpy_oom.passes.outline.Outline` of the
        passes that the implementation would make, or where it is. It raises what the implementation would, and reads
        and changes nothing. `None` if they cannot be told beforehand.
    """

    function: str
    implementation: Callable[..., Any] | str | None = None
    uses: rules.Rule = rules.chosen
    plan: Callable[..., Any] | str | None = None


def _builtin(function: str, module: str, uses: rules.Rule = rules.chosen) -> Override:
    """Give an override whose implementation has the name of the function, and its plan that with `plan_` before it."""
    name = function.rpartition(".")[2]
    where = f"scanpy_oom.{module}"
    return Override(function, f"{where}:{name}", uses, f"{where}:plan_{name}")


BUILTIN = (
    # sc.pp
    _builtin("pp.calculate_qc_metrics", "pp._qc"),
    Override("pp.combat", None, rules.x),
    Override("pp.downsample_counts", None, rules.x),
    _builtin("pp.filter_cells", "pp._simple", rules.x),
    _builtin("pp.filter_genes", "pp._simple", rules.x),
    Override("pp.filter_genes_dispersion", None, rules.x),
    _builtin("pp.highly_variable_genes", "pp._highly_variable_genes"),
    _builtin("pp.log1p", "pp._simple"),
    Override("pp.neighbors", None, rules.representation),
    Override("pp.normalize_per_cell", None, rules.every_layer),
    _builtin("pp.normalize_total", "pp._normalization"),
    _builtin("pp.pca", "pp._pca"),
    Override("pp.recipe_weinreb17", None, rules.x),
    Override("pp.regress_out"),
    _builtin("pp.scale", "pp._scale"),
    Override("pp.scrublet", None, rules.x_of_all),
    Override("pp.scrublet_simulate_doublets"),
    Override("pp.sqrt", None, rules.x),
    # sc.tl (where tl.pca is the same function as pp.pca)
    Override("tl.dendrogram", None, rules.dendrogram),
    Override("tl.filter_rank_genes_groups", None, rules.filtered_genes),
    Override("tl.ingest", None, rules.x_of_all),
    _builtin("tl.rank_genes_groups", "tl._rank_genes_groups", rules.raw_if_present),
    Override("tl.score_genes", None, rules.raw_if_present),
    Override("tl.tsne", None, rules.representation),
    Override("tl.umap", None, rules.neighbors_representation),
    # sc.get, sc.metrics
    Override("get.aggregate"),
    Override("metrics.gearys_c", None, rules.values),
    Override("metrics.morans_i", None, rules.values),
    # sc.pl
    Override("pl.clustermap", None, rules.raw_if_present),
    Override("pl.dpt_timeseries", None, rules.x),
    Override("pl.highest_expr_genes"),
    Override("pl.sim", None, rules.x),
    # sc.experimental
    Override("experimental.pp.highly_variable_genes"),
    Override("experimental.pp.normalize_pearson_residuals"),
)
