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
        `None` if there is none: then scanpy's own function runs, with the matrices that it uses in memory.
    uses
        Which matrices a call would use (see :mod:`scanpy_oom.dispatch.rules`).
    plan
        A function that takes the same arguments and returns the :class:`~scanpy_oom.passes.outline.Outline` of the
        passes that the implementation would make, or where it is. It raises what the implementation would, and reads
        and changes nothing. `None` if they cannot be told beforehand.
    reason
        Why there is no implementation, as a clause.
    advice
        What to do where the matrices do not fit in memory, as a sentence.
    """

    function: str
    implementation: Callable[..., Any] | str | None = None
    uses: rules.Rule = rules.chosen
    plan: Callable[..., Any] | str | None = None
    reason: str = "there is no out-of-memory version of it yet"
    advice: str = "Call it on fewer cells or genes."


def _builtin(function: str, module: str, uses: rules.Rule = rules.chosen) -> Override:
    """Give an override whose implementation has the name of the function, and its plan that with `plan_` before it."""
    name = function.rpartition(".")[2]
    where = f"scanpy_oom.{module}"
    return Override(function, f"{where}:{name}", uses, f"{where}:plan_{name}")


_OF_X: dict[str, Any] = {
    "reason": "scanpy looks for neighbors by comparing cells here and there, each by all its genes",
    "advice": "Run `sc.pp.pca` first, and leave out `use_rep='X'` and `n_pcs=0`: what is compared are then the few "
    "numbers a cell in `adata.obsm['X_pca']`.",
}

BUILTIN = (
    # sc.pp
    _builtin("pp.calculate_qc_metrics", "pp._qc"),
    _builtin("pp.combat", "pp._combat", rules.x),
    _builtin("pp.downsample_counts", "pp._downsample_counts", rules.x),
    _builtin("pp.filter_cells", "pp._simple", rules.x),
    _builtin("pp.filter_genes", "pp._simple", rules.x),
    _builtin("pp.filter_genes_dispersion", "pp._deprecated", rules.x),
    _builtin("pp.highly_variable_genes", "pp._highly_variable_genes"),
    _builtin("pp.log1p", "pp._simple"),
    Override("pp.neighbors", None, rules.representation, **_OF_X),
    _builtin("pp.normalize_per_cell", "pp._deprecated", rules.every_layer),
    _builtin("pp.normalize_total", "pp._normalization"),
    _builtin("pp.pca", "pp._pca"),
    Override("pp.recipe_weinreb17", "scanpy_oom.pp._recipes:recipe_weinreb17", rules.x),
    _builtin("pp.regress_out", "pp._regress_out"),
    _builtin("pp.scale", "pp._scale"),
    # what this and `recipe_weinreb17` read depends on the genes that are selected on the way
    Override("pp.scrublet", "scanpy_oom.pp._scrublet:scrublet", rules.x_of_all),
    _builtin("pp.scrublet_simulate_doublets", "pp._scrublet"),
    _builtin("pp.sqrt", "pp._simple", rules.x),
    # sc.tl (where tl.pca is the same function as pp.pca)
    _builtin("tl.dendrogram", "tl._dendrogram", rules.dendrogram),
    _builtin("tl.filter_rank_genes_groups", "tl._filter_rank_genes_groups", rules.filtered_genes),
    _builtin("tl.ingest", "tl._ingest", rules.x_of_all),
    _builtin("tl.rank_genes_groups", "tl._rank_genes_groups", rules.raw_if_present),
    _builtin("tl.score_genes", "tl._score_genes", rules.raw_if_present),
    Override("tl.tsne", None, rules.representation, **_OF_X),
    Override("tl.umap", None, rules.neighbors_representation),
    # sc.get, sc.metrics
    _builtin("get.aggregate", "get._aggregated", rules.aggregated),
    _builtin("metrics.gearys_c", "metrics._autocorrelation", rules.values),
    _builtin("metrics.morans_i", "metrics._autocorrelation", rules.values),
    # sc.pl
    Override("pl.clustermap", None, rules.raw_if_present),
    Override("pl.dpt_timeseries", None, rules.x),
    _builtin("pl.highest_expr_genes", "pl._qc"),
    Override("pl.sim", None, rules.x),
    # sc.external, whose functions hand an AnnData on to other packages
    Override("external.exporting.cellbrowser", None, rules.raw_if_present),
    Override("external.exporting.spring_project", None, rules.raw_if_present),
    Override("external.pp.dca", None, rules.x),
    Override("external.pp.magic", None, rules.x),
    Override("external.pp.mnn_correct", None, rules.x_of_all),
    Override("external.tl.cyclone", None, rules.x),
    Override("external.tl.palantir", None, rules.x),
    Override("external.tl.phate", None, rules.x),
    Override("external.tl.sam", None, rules.x),
    Override("external.tl.sandbag", None, rules.x),
    # sc.experimental
    _builtin("experimental.pp.highly_variable_genes", "experimental.pp._highly_variable_genes"),
    _builtin("experimental.pp.normalize_pearson_residuals", "experimental.pp._normalization"),
    _builtin("experimental.pp.normalize_pearson_residuals_pca", "experimental.pp._normalization", rules.x),
    _builtin("experimental.pp.recipe_pearson_residuals", "experimental.pp._recipes", rules.x),
)
