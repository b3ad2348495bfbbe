"""Calls of `scanpy.tl`, `scanpy.get` and `scanpy.metrics`."""

from __future__ import annotations

from .drawing import BOTH, cells, genes, group, layer
from .operations import Scanpy
from .terms import adata, graph

__all__ = ["TOOLS"]

_GROUPS = (
    Scanpy(
        4,
        "tl.rank_genes_groups",
        (group,),
        some={
            "use_raw": BOTH,
            "groups": (["A", "B"], "all", ["A"], ["zz"]),
            "reference": ("rest", "A", "B", "zz"),
            "n_genes": (1, 3, 1000, 0),
            "rankby_abs": BOTH,
            "pts": BOTH,
            "key_added": ("rk",),
            "copy": BOTH,
            "method": ("t-test", "wilcoxon", "t-test_overestim_var", "wilcoxon", "bogus"),
            "corr_method": ("benjamini-hochberg", "bonferroni", "x"),
            "tie_correct": BOTH,
            "layer": (layer,),
            "mask_var": ("hv", adata.var["hv"].values, "nope"),
        },
    ),
    Scanpy(
        0.5,
        "tl.rank_genes_groups",
        (group,),
        given={"method": ("logreg",)},
        some={"n_genes": (3,), "groups": (["A", "B"],), "use_raw": (False,)},
    ),
    Scanpy(
        1.5,
        "tl.filter_rank_genes_groups",
        some={
            "key": ("rk",),
            "groupby": ("g", "b"),
            "use_raw": BOTH,
            "key_added": ("fr",),
            "min_in_group_fraction": (0, 0.5),
            "min_fold_change": (0, 1),
            "max_out_group_fraction": (0.5, 1),
            "compare_abs": BOTH,
        },
    ),
    Scanpy(
        0.7,
        "get.rank_genes_groups_df",
        ((None, "A", "zz"),),
        some={"key": ("rk",), "pval_cutoff": (0.1,), "log2fc_min": (0,)},
    ),
    Scanpy(0.3, "tl.marker_gene_overlap", (lambda draw: {"one": {*genes(3)(draw)}, "two": {*genes(2)(draw)}},)),
    Scanpy(
        1.2,
        "tl.dendrogram",
        (group,),
        some={
            "var_names": (genes(3),),
            "use_rep": ("X", "X_pca"),
            "n_pcs": (2, 0),
            "use_raw": BOTH,
            "cor_method": ("pearson", "spearman", "kendall"),
            "linkage_method": ("complete", "average"),
            "optimal_ordering": BOTH,
            "key_added": ("d",),
            "inplace": BOTH,
        },
    ),
    Scanpy(
        4,
        "get.aggregate",
        (
            (group, ["g", "b"], ["g", "flag"]),
            ("mean", "sum", ["mean", "var"], ["count_nonzero", "sum", "mean", "var"], "median", "bogus"),
        ),
        some={
            "mask": ("flag", adata.obs["flag"].values),
            "dof": (0, 2, 1),
            "layer": (layer,),
            "obsm": ("X_pca",),
            "axis": ("obs", 0),
        },
    ),
    Scanpy(
        0.7,
        "get.aggregate",
        (("vg",), ("mean", ["sum", "var"], ["count_nonzero"], "median")),
        given={"axis": ("var", 1)},
        some={"mask": ("hv",), "dof": (0,), "layer": (layer,)},
    ),
)
_SCORES = (
    Scanpy(
        3,
        "tl.score_genes",
        ((genes(3), genes(5), ["nope"], lambda draw: [*genes(2)(draw), "nope"], "g0"),),
        some={
            "ctrl_size": (1, 3, 50),
            "ctrl_as_ref": BOTH,
            "gene_pool": (genes(8), None),
            "n_bins": (1, 3, 25),
            "score_name": ("sc", "q"),
            "random_state": (0, 2),
            "copy": BOTH,
            "use_raw": (True, False, None),
            "layer": (layer,),
        },
    ),
    Scanpy(
        0.7,
        "tl.score_genes_cell_cycle",
        given={"s_genes": (genes(3),), "g2m_genes": (genes(3),)},
        some={"copy": BOTH, "n_bins": (3,)},
    ),
    Scanpy(
        2,
        "get.obs_df",
        given={"keys": (genes(2), lambda draw: [*genes(1)(draw), "q", "g"], ["nope"], ["S1"])},
        some={"obsm_keys": ([("X_pca", 0)],), "layer": (layer,), "gene_symbols": ("sym",), "use_raw": BOTH},
    ),
    Scanpy(
        1.5,
        "get.var_df",
        given={"keys": (cells(1), lambda draw: [*cells(1)(draw), "mt"], ["nope"], ["mt"])},
        some={"layer": (layer,)},
    ),
    Scanpy(0.3, "tl.embedding_density", ("pca",), some={"groupby": ("g",)}),
    *(
        Scanpy(0.5, f"metrics.{name}", ((adata.X, adata.X.T, adata.obs["q"].values),), first=(graph(adata.n_obs),))
        for name in ("morans_i", "gearys_c")
    ),
)

TOOLS = (*_GROUPS, *_SCORES)
