"""Every scanpy function that runs out of memory, each on an object that was just opened and prepared."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.dispatch.registry import BUILTIN


def open_(file):
    adata = sc.read_h5ad(file, backed="oom")
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    adata.obs["depth"] = np.log1p(np.arange(adata.n_obs))
    return adata


def lognormal(file):
    adata = open_(file)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def variable(file):
    """The first 2,000 genes, normalised: what regression and components are for."""
    return lognormal(file)[:, :2000].copy()


def dense(file):
    """The first 2,000 genes as a dense matrix, which a recipe insists on, of cells with enough of them."""
    path = file.with_name("dense.h5ad")
    if not path.exists():
        adata = sc.read_h5ad(file)[:, :2000].copy()
        sc.pp.filter_cells(adata, min_genes=60)
        adata.X = adata.X.toarray()
        adata.write_h5ad(path, compression="gzip")
    return open_(path)


def expressed(file):
    """The first 2,000 genes and their cells, without those that residuals are not defined for."""
    adata = open_(file)[:, :2000].copy()
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.filter_cells(adata, min_counts=1)
    return adata


def ranked(file):
    adata = lognormal(file)
    sc.tl.rank_genes_groups(adata, "cell_type", method="t-test", pts=True)
    return adata


def with_neighbors(file):
    adata = lognormal(file)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    sc.pp.pca(adata, n_comps=50)
    sc.pp.neighbors(adata)
    return adata


def with_reference(file):
    """Some cells, and others with neighbours that they are to be mapped to."""
    reference = with_neighbors(file)
    return lognormal(file)[:4000].copy(), reference[4000:].copy()


def ingest(pair):
    adata, reference = pair
    sc.pp.neighbors(reference)
    sc.tl.ingest(adata, reference, obs="cell_type", embedding_method="pca")


def plot_highest(adata):
    sc.pl.highest_expr_genes(adata, n_top=20, show=False)
    plt.close("all")


CASES = {
    "experimental.pp.highly_variable_genes": (
        open_,
        lambda a: sc.experimental.pp.highly_variable_genes(a, flavor="pearson_residuals", n_top_genes=2000),
    ),
    "experimental.pp.normalize_pearson_residuals": (
        expressed,
        sc.experimental.pp.normalize_pearson_residuals,
    ),
    "experimental.pp.normalize_pearson_residuals_pca": (
        expressed,
        lambda a: sc.experimental.pp.normalize_pearson_residuals_pca(a, n_comps=50),
    ),
    "experimental.pp.recipe_pearson_residuals": (
        open_,
        lambda a: sc.experimental.pp.recipe_pearson_residuals(a, n_top_genes=2000),
    ),
    "get.aggregate": (lognormal, lambda a: sc.get.aggregate(a, "cell_type", ["mean", "var", "count_nonzero"])),
    "metrics.gearys_c": (with_neighbors, sc.metrics.gearys_c),
    "metrics.morans_i": (with_neighbors, sc.metrics.morans_i),
    "pl.highest_expr_genes": (open_, plot_highest),
    "pp.calculate_qc_metrics": (open_, lambda a: sc.pp.calculate_qc_metrics(a, qc_vars=["mt"], inplace=True)),
    "pp.combat": (variable, lambda a: sc.pp.combat(a, key="batch")),
    "pp.downsample_counts": (open_, lambda a: sc.pp.downsample_counts(a, counts_per_cell=1000)),
    "pp.filter_cells": (open_, lambda a: sc.pp.filter_cells(a, min_genes=200)),
    "pp.filter_genes": (open_, lambda a: sc.pp.filter_genes(a, min_cells=3)),
    "pp.filter_genes_dispersion": (open_, lambda a: sc.pp.filter_genes_dispersion(a, n_top_genes=2000)),
    "pp.highly_variable_genes": (lognormal, lambda a: sc.pp.highly_variable_genes(a, n_top_genes=2000)),
    "pp.log1p": (open_, sc.pp.log1p),
    "pp.normalize_per_cell": (open_, sc.pp.normalize_per_cell),
    "pp.normalize_total": (open_, sc.pp.normalize_total),
    "pp.pca": (variable, lambda a: sc.pp.pca(a, n_comps=50)),
    "pp.recipe_weinreb17": (dense, sc.pp.recipe_weinreb17),
    "pp.regress_out": (variable, lambda a: sc.pp.regress_out(a, ["depth"])),
    "pp.scale": (lognormal, lambda a: sc.pp.scale(a, max_value=10)),
    "pp.scrublet": (open_, sc.pp.scrublet),
    "pp.scrublet_simulate_doublets": (open_, sc.pp.scrublet_simulate_doublets),
    "pp.sqrt": (open_, sc.pp.sqrt),
    "tl.dendrogram": (lognormal, lambda a: sc.tl.dendrogram(a, "cell_type", var_names=list(a.var_names))),
    "tl.filter_rank_genes_groups": (ranked, sc.tl.filter_rank_genes_groups),
    "tl.ingest": (with_reference, ingest),
    "tl.rank_genes_groups": (lognormal, lambda a: sc.tl.rank_genes_groups(a, "cell_type", method="t-test")),
    "tl.score_genes": (lognormal, lambda a: sc.tl.score_genes(a, list(a.var_names[:100]))),
}

MORE = {
    "get.aggregate median": (lognormal, lambda a: sc.get.aggregate(a, "cell_type", "median")),
    "pp.highly_variable_genes seurat_v3": (
        open_,
        lambda a: sc.pp.highly_variable_genes(a, flavor="seurat_v3", n_top_genes=2000),
    ),
    "tl.rank_genes_groups wilcoxon": (
        lognormal,
        lambda a: sc.tl.rank_genes_groups(a, "cell_type", method="wilcoxon"),
    ),
}
"""Other ways of some of them, with kernels of their own."""


def test_every_override_is_measured():
    implemented = {override.function for override in BUILTIN if override.implementation is not None}
    assert implemented == CASES.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted([*CASES, *MORE]))
def test_override(name, counts_file, benchmark):
    prepare, call = (CASES | MORE)[name]
    benchmark.pedantic(call, setup=lambda: ((prepare(counts_file),), {}), rounds=3, warmup_rounds=1)
