"""The scanpy functions that read or write a whole expression matrix, and what runs them out of memory.

Not here are functions that take a few rows or columns by indexing (``sc.get.obs_df``, ``sc.pp.sample``, most of
``sc.pl``) and those that reach the matrix only through functions that are here (``sc.pp.recipe_zheng17``,
``sc.tl.score_genes_cell_cycle``): they work on an :class:`~scanpy_oom.OOMMatrix` as they are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import uses as rules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUILTIN", "Override"]


@dataclass(frozen=True, slots=True)
class Override:
    """The implementation of one scanpy function on data that stay on disk.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``, as in ``"pp.log1p"``.
    implementation
        A function with the same signature, or where it is (``"package.module:function"``). It raises
        :class:`~scanpy_oom.UnsupportedOutOfMemory` for arguments that it does not cover, before it changes anything.
        `None` if there is none: then scanpy's own function runs, with the matrices that it uses in memory.
    uses
        Which matrices a call would use (see :mod:`scanpy_oom.dispatch.uses`).
    plan
        No longer called, and warned of: see `plannable`.
    reason
        Why there is no implementation, as a clause.
    advice
        What to do where the matrices do not fit in memory, as a sentence.
    plannable
        Whether the implementation tells its own plan: run with an executor that makes no passes, on copies of its
        AnnData, it reads values through passes alone, which it asks for in the thread that called it, and leaves
        nothing behind, not even another state of NumPy's global generator (see
        :mod:`scanpy_oom.engine.explain.plan`). Otherwise its passes are not known beforehand.
    fast
        The implementation with ``settings.graph = "fast"``, on any AnnData, as a function or where it is; it declines
        as `implementation` does. `None` if that setting changes nothing.
    """

    function: str
    implementation: Callable[..., object] | str | None = None
    uses: rules.Rule = rules.chosen
    plan: Callable[..., object] | str | None = None
    reason: str = "there is no out-of-memory version of it yet"
    advice: str = "Call it on fewer cells or genes."
    plannable: bool = field(default=False, kw_only=True)
    fast: Callable[..., Any] | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.plan is not None:
            msg = f"`plan=` of the override of {self.function!r} is no longer called; `plannable=True` explains it."
            warnings.warn(msg, DeprecationWarning, stacklevel=3)


def _builtin(function: str, module: str, uses: rules.Rule = rules.chosen) -> Override:
    """Give an override whose implementation has the name of the function, and tells its own plan."""
    name = function.rpartition(".")[2]
    return Override(function, f"scanpy_oom.overrides.{module}:{name}", uses, plannable=True)


_OF_X: dict[str, Any] = {
    "reason": "the neighbor search needs all genes of cells in any order",
    "advice": "Run `sc.pp.pca` first, and leave out `use_rep='X'` and `n_pcs=0`: the search then uses the few values "
    "of each cell in `adata.obsm['X_pca']`.",
}

BUILTIN = (
    # sc.pp
    Override("pp.bbknn", None, rules.representation, **_OF_X),
    _builtin("pp.calculate_qc_metrics", "pp._qc"),
    _builtin("pp.combat", "pp._combat", rules.x),
    _builtin("pp.downsample_counts", "pp._downsample_counts", rules.x),
    _builtin("pp.filter_cells", "pp._simple", rules.x),
    _builtin("pp.filter_genes", "pp._simple", rules.x),
    _builtin("pp.filter_genes_dispersion", "pp._deprecated", rules.x),
    _builtin("pp.highly_variable_genes", "pp._highly_variable_genes"),
    _builtin("pp.log1p", "pp._simple"),
    Override(
        "pp.neighbors",
        None,
        rules.representation,
        fast="scanpy_oom.overrides.pp._neighbors:neighbors",
        **_OF_X,
    ),
    _builtin("pp.normalize_per_cell", "pp._deprecated", rules.every_layer),
    _builtin("pp.normalize_total", "pp._normalization"),
    _builtin("pp.pca", "pp._pca"),
    Override("pp.recipe_weinreb17", "scanpy_oom.overrides.pp._recipes:recipe_weinreb17", rules.x),
    _builtin("pp.regress_out", "pp._regress_out"),
    _builtin("pp.scale", "pp._scale"),
    # what this and `recipe_weinreb17` read depends on the genes that are selected on the way
    Override("pp.scrublet", "scanpy_oom.overrides.pp._scrublet:scrublet", rules.x_of_all),
    _builtin("pp.scrublet_simulate_doublets", "pp._scrublet"),
    _builtin("pp.sqrt", "pp._simple", rules.x),
    # sc.tl (where tl.pca is the same function as pp.pca)
    _builtin("tl.dendrogram", "tl._dendrogram", rules.dendrogram),
    _builtin("tl.filter_rank_genes_groups", "tl._filter_rank_genes_groups", rules.filtered_genes),
    _builtin("tl.ingest", "tl._ingest", rules.x_of_all),
    Override("tl.leiden", None, rules.nothing, fast="scanpy_oom.overrides.tl._leiden:leiden"),
    _builtin("tl.rank_genes_groups", "tl._rank_genes_groups", rules.raw_if_present),
    _builtin("tl.score_genes", "tl._score_genes", rules.raw_if_present),
    Override("tl.tsne", None, rules.representation, **_OF_X),
    Override("tl.umap", None, rules.neighbors_representation, fast="scanpy_oom.overrides.tl._umap:umap"),
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
