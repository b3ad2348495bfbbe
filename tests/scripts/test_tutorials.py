"""What the tutorials of scanpy do, step by step, on real cells: all that they leave is what they leave in memory.

UMAP is left out: it compiles for long, and what it takes is the graph of neighbors, which is compared.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scanpy_oom.matrix import OOMMatrix, underlying

from ..fuzz.compare import differences

pytestmark = pytest.mark.filterwarnings("ignore")

MARKERS = {
    "T": ["CD3D", "IL7R", "CD8A"],
    "B": ["MS4A1", "CD79A"],
    "NK": ["NKG7", "GNLY"],
    "monocytes": ["CD14", "LYZ", "FCGR3A", "MS4A7"],
}
S_GENES = ["PCNA", "TYMS", "MCM2", "MCM4", "RRM1", "GMNN", "UHRF1", "HELLS", "RPA2", "NASP", "USP1", "CLSPN", "TIPIN"]
G2M_GENES = ["HMGB2", "CDK1", "NUSAP1", "UBE2C", "TPX2", "TOP2A", "CKS2", "TMPO", "TUBB4B", "CKAP5", "LBR", "CBX5"]


@pytest.fixture(scope="module")
def cells(pbmc3k: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fifth cell of the real ones."""
    path = tmp_path_factory.mktemp("tutorials") / "cells.h5ad"
    ad.read_h5ad(pbmc3k)[::5].copy().write_h5ad(path, compression="gzip")
    return path


def clusters(a, resolution=1.0, key="leiden", **arguments):
    sc.tl.leiden(
        a, resolution, key_added=key, flavor="igraph", n_iterations=2, directed=False, random_state=0, **arguments
    )


def frames(plot):
    """The data frames behind a plot, and no figure."""
    plot.make_figure()
    plt.close("all")
    names = ("dot_color_df", "dot_size_df", "values_df", "obs_tidy")
    return {name: getattr(plot, name) for name in names if hasattr(plot, name)}


def shown(axes):
    """The numbers in images of a figure."""
    images = [image.get_array() for name in axes for ax in np.atleast_1d(axes[name]) for image in ax.images]
    lines = [line.get_ydata() for name in axes for ax in np.atleast_1d(axes[name]) for line in ax.lines]
    plt.close("all")
    return [np.asarray(array) for array in images + lines]


def clustering(path, backed):
    """Cluster blood cells, and find marker genes."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    sc.pp.filter_cells(a, min_genes=200)
    sc.pp.filter_genes(a, min_cells=3)
    a.var["mt"] = a.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(a, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    a = a[
        (a.obs["n_genes_by_counts"] < 2500) & (a.obs["n_genes_by_counts"] > 200) & (a.obs["pct_counts_mt"] < 5)
    ].copy()
    a.layers["counts"] = a.X.copy()
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, min_mean=0.0125, max_mean=3, min_disp=0.7)
    a.raw = a.copy()
    a = a[:, a.var["highly_variable"]].copy()
    sc.pp.regress_out(a, ["total_counts", "pct_counts_mt"])
    sc.pp.scale(a, max_value=10)
    sc.tl.pca(a, svd_solver="arpack")
    sc.pp.neighbors(a, n_neighbors=10, n_pcs=40)
    clusters(a, 0.9)
    sc.tl.paga(a)
    found = {}
    for method in ("t-test", "wilcoxon"):
        sc.tl.rank_genes_groups(a, "leiden", method=method, key_added=method)
        found[method] = pd.DataFrame(a.uns[method]["names"]).head(5)
        found[f"{method}, one group"] = sc.get.rank_genes_groups_df(a, group="1", key=method, pval_cutoff=0.05)
    sc.tl.rank_genes_groups(a, "leiden", groups=["0"], reference="1", method="wilcoxon")
    genes = [gene for group in MARKERS.values() for gene in group]
    found["cells"] = sc.get.obs_df(a, [*genes, "leiden", "total_counts"], use_raw=True)
    found["dots"] = frames(sc.pl.dotplot(a, MARKERS, groupby="leiden", return_fig=True))
    found["violins"] = frames(sc.pl.stacked_violin(a, MARKERS, groupby="leiden", return_fig=True))
    found["matrix"] = frames(
        sc.pl.matrixplot(a, MARKERS, groupby="leiden", standard_scale="var", dendrogram=True, return_fig=True)
    )
    found["heat"] = shown(sc.pl.heatmap(a, MARKERS, groupby="leiden", show=False))
    found["top"] = frames(sc.pl.rank_genes_groups_dotplot(a, key="wilcoxon", n_genes=3, return_fig=True))
    return a, found


def two_samples(path, backed):
    """Join two samples, look for doublets in each, and cluster."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    samples = {"s1": a[: a.n_obs // 2].copy(), "s2": a[a.n_obs // 2 :].copy()}
    a = ad.concat(samples, label="sample")
    a.obs_names_make_unique()
    a.var["mt"] = a.var_names.str.startswith("MT-")
    a.var["ribo"] = a.var_names.str.startswith(("RPS", "RPL"))
    a.var["hb"] = a.var_names.str.contains("^HB[^(P)]")
    sc.pp.calculate_qc_metrics(a, qc_vars=["mt", "ribo", "hb"], inplace=True, log1p=True)
    sc.pp.filter_cells(a, min_genes=100)
    sc.pp.filter_genes(a, min_cells=3)
    sc.pp.scrublet(a, batch_key="sample", n_prin_comps=10)
    a.layers["counts"] = a.X.copy()
    sc.pp.normalize_total(a)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, n_top_genes=1000, batch_key="sample")
    sc.tl.pca(a)
    sc.pp.neighbors(a)
    for resolution in (0.1, 0.5, 1.0):
        clusters(a, resolution, f"leiden_{resolution}")
    sc.tl.rank_genes_groups(a, groupby="leiden_0.5", method="wilcoxon")
    found = {
        "markers": sc.get.rank_genes_groups_df(a, group="0").head(5),
        "dots": frames(sc.pl.dotplot(a, MARKERS, groupby="leiden_0.5", standard_scale="var", return_fig=True)),
        "top": frames(sc.pl.rank_genes_groups_dotplot(a, groupby="leiden_0.5", n_genes=3, return_fig=True)),
        "means": sc.get.aggregate(a, "leiden_0.5", ["mean", "count_nonzero"], layer="counts"),
        "not doublets": a[~a.obs["predicted_doublet"].astype(bool)].copy(),
    }
    return a, found


def batches(path, backed):
    """Put two samples together, and take their difference away. `test_ingest` maps one on the other."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    sc.pp.filter_genes(a, min_cells=10)
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    one, other = a[: a.n_obs // 2].copy(), a[a.n_obs // 2 :].copy()
    for sample in (one, other):  # a gene that is constant in one has the variance of rounding after `combat`
        sc.pp.filter_genes(sample, min_cells=5)
    both = ad.concat({"one": one, "other": other}, label="batch", index_unique="-")
    both.obs["depth"] = pd.cut(both.obs_vector("LYZ"), [-1, 0, 2, 99], labels=["none", "few", "many"])
    sc.pp.combat(both, key="batch")
    sc.pp.highly_variable_genes(both, n_top_genes=500, batch_key="batch")
    sc.pp.pca(both, n_comps=20)
    sc.tl.embedding_density(both, basis="pca", groupby="batch")
    return both, {"table": pd.crosstab(both.obs["batch"], both.obs["depth"])}


def trajectory(path, backed):
    """Abstract graphs, and order cells by their distance from one."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    a.layers["counts"] = a.X.copy()
    sc.pp.recipe_zheng17(a, n_top_genes=800)
    sc.tl.pca(a, svd_solver="arpack")
    sc.pp.neighbors(a, n_neighbors=4, n_pcs=20)
    sc.tl.diffmap(a)
    sc.pp.neighbors(a, n_neighbors=10, use_rep="X_diffmap")
    clusters(a, 0.5)
    sc.tl.paga(a, groups="leiden")
    a.uns["iroot"] = int(np.flatnonzero(a.obs["leiden"] == "1")[0])
    sc.tl.dpt(a)
    sc.pp.log1p(a, layer="counts")
    path_of = [str(i) for i in range(2)]
    _, data = sc.pl.paga_path(
        a,
        path_of,
        list(a.var_names[:4]),
        use_raw=False,
        annotations=["dpt_pseudotime"],
        n_avg=5,
        show=False,
        return_data=True,
    )
    plt.close("all")
    return a, {"along": data}


def spots(path, backed):
    """Look at the quality of spots of a slide, and at genes that vary over it."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    a.obsm["spatial"] = np.random.default_rng(0).uniform(size=(a.n_obs, 2))
    a.var["mt"] = a.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(a, qc_vars=["mt"], inplace=True)
    sc.pp.filter_cells(a, min_counts=1000)
    sc.pp.filter_cells(a, max_counts=6000)
    a = a[a.obs["pct_counts_mt"] < 20].copy()
    sc.pp.filter_genes(a, min_cells=10)
    sc.pp.normalize_total(a, inplace=True)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, flavor="seurat", n_top_genes=800)
    sc.pp.pca(a)
    sc.pp.neighbors(a)
    clusters(a)
    sc.tl.rank_genes_groups(a, "leiden", method="t-test")
    sc.pp.neighbors(a, use_rep="spatial", key_added="near")
    found = {
        "few": a[:, a.var["highly_variable"]][:, :40].copy(),
        "heat": shown(sc.pl.rank_genes_groups_heatmap(a, groups="0", n_genes=5, groupby="leiden", show=False)),
    }
    return a, found


def cell_cycle(path, backed):
    """Score phases of the cell cycle, and regress them out."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    sc.pp.filter_cells(a, min_genes=200)
    sc.pp.filter_genes(a, min_cells=3)
    sc.pp.normalize_per_cell(a, counts_per_cell_after=1e4) if hasattr(sc.pp, "normalize_per_cell") else None
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, n_top_genes=600)
    s_genes, g2m_genes = ([gene for gene in genes if gene in a.var_names] for genes in (S_GENES, G2M_GENES))
    a = a[:, a.var["highly_variable"] | a.var_names.isin(s_genes + g2m_genes)].copy()
    sc.pp.scale(a)
    sc.tl.score_genes_cell_cycle(a, s_genes=s_genes, g2m_genes=g2m_genes)
    before = a[:, s_genes + g2m_genes].copy()
    sc.tl.pca(before, n_comps=5, mask_var=None)
    sc.pp.regress_out(a, ["S_score", "G2M_score"])
    sc.pp.scale(a)
    a.var["mean"] = a.var["mean"].round(9)  # zero but for rounding
    after = a[:, s_genes + g2m_genes].copy()
    sc.tl.pca(after, n_comps=5, mask_var=None)
    return a, {"before": before, "after": after, "phases": a.obs["phase"].value_counts()}


def plots(path, backed):
    """Show genes by groups in all ways."""
    a = sc.read_h5ad(path, backed=backed)
    a.var_names_make_unique()
    sc.pp.filter_genes(a, min_cells=5)
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, n_top_genes=500)
    sc.pp.pca(a, n_comps=20)
    sc.pp.neighbors(a)
    clusters(a, 0.6, "cluster")
    a.layers["scaled"] = sc.pp.scale(a, copy=True).X
    sc.tl.dendrogram(a, "cluster", n_pcs=20)
    sc.tl.dendrogram(a, "cluster", var_names=list(a.var_names[:300]), key_added="by genes")
    sc.tl.rank_genes_groups(a, "cluster")
    sc.tl.filter_rank_genes_groups(a, min_fold_change=1)
    scaled = {"layer": "scaled", "vmin": -2, "vmax": 2, "cmap": "RdBu_r"}
    found = {
        "dots": frames(sc.pl.dotplot(a, MARKERS, "cluster", dendrogram=True, return_fig=True)),
        "violins": frames(
            sc.pl.stacked_violin(a, MARKERS, "cluster", swap_axes=True, dendrogram=True, return_fig=True)
        ),
        "matrix": frames(sc.pl.matrixplot(a, MARKERS, "cluster", **scaled, return_fig=True)),
        "folds": frames(
            sc.pl.rank_genes_groups_matrixplot(a, n_genes=4, values_to_plot="logfoldchanges", return_fig=True)
        ),
        "scaled folds": frames(sc.pl.rank_genes_groups_stacked_violin(a, n_genes=3, layer="scaled", return_fig=True)),
        "heat": shown(
            sc.pl.heatmap(a, MARKERS, "cluster", layer="scaled", dendrogram=True, swap_axes=True, show=False)
        ),
        "tracks": shown(sc.pl.tracksplot(a, MARKERS, "cluster", show=False)),
        "violin": shown({"axes": np.ravel(sc.pl.violin(a, ["CD79A", "LYZ"], groupby="cluster", show=False))}),
        "frame": sc.get.obs_df(a, ["LYZ", "cluster"], layer="scaled"),
        "var": sc.get.var_df(a, keys=list(a.obs_names[:3])),
    }
    return a, found


TUTORIALS = [clustering, two_samples, batches, trajectory, spots, cell_cycle, plots]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda tutorial: tutorial.__name__)
def test_a_tutorial_leaves_what_it_leaves_in_memory(tutorial, cells):
    plt.switch_backend("agg")
    (memory, want), (lazy, got) = (tutorial(cells, backed) for backed in (None, "oom"))
    assert differences(memory, lazy) == []
    assert differences(want, got, "found") == []
    assert all(isinstance(matrix, OOMMatrix) for _, matrix in underlying(lazy) if matrix is not None)
