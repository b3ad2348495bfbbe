"""Every function of `scanpy.pl` that shows expression: the same picture, from one pass, and from none the next time."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.matrix.cache_registry import drop_copies

from ...comparison import passes_of
from .conftest import GENES, picture

pl = sc.pl
SYMBOLS = [f"symbol {gene}" for gene in GENES]
OF_MATRIX = {"use_raw": False}
OF_LAYER = {"layer": "counts", "use_raw": False}
BY_SYMBOL = {"gene_symbols": "symbol"}

GROUPED = {
    "plain": (GENES, {}),
    "of X": (GENES, OF_MATRIX),
    "of a layer": (GENES, OF_LAYER),
    "by symbol": (SYMBOLS, BY_SYMBOL),
    "with axes swapped": (GENES, {"swap_axes": True}),
    "scaled by gene": (GENES, {"standard_scale": "var"}),
    "scaled by group": (GENES, {"standard_scale": "obs", "swap_axes": True}),
    "in brackets": ({"a": GENES[:2], "b": GENES[2:]}, {"dendrogram": True}),
}


def grouped(name, genes, arguments):
    if name in {"dotplot", "matrixplot"} and arguments.get("standard_scale") == "obs":
        arguments = arguments | {"standard_scale": "group"}  # as these call it
    return lambda a: getattr(pl, name)(a, genes, "kind", **arguments)


CALLS = {
    f"{name} {how}": grouped(name, genes, arguments)
    for name in ("dotplot", "matrixplot", "stacked_violin", "heatmap", "tracksplot")
    for how, (genes, arguments) in GROUPED.items()
    if not (name == "tracksplot" and {"swap_axes", "standard_scale"} & arguments.keys())
}
CALLS |= {
    "umap": lambda a: pl.umap(a, color=[*GENES, "kind"], show=False),
    "umap of X": lambda a: pl.umap(a, color=GENES, use_raw=False, show=False),
    "umap of a layer": lambda a: pl.umap(a, color=GENES, layer="counts", show=False),
    "umap by symbol": lambda a: pl.umap(a, color=SYMBOLS, gene_symbols="symbol", show=False),
    "umap of a view": lambda a: pl.umap(a[:100], color=GENES, show=False),
    "embedding": lambda a: pl.embedding(a, "umap", color=GENES, vmax="p99", show=False),
    "pca": lambda a: pl.pca(a, color=GENES, show=False),
    "pca_overview": lambda a: pl.pca_overview(a, color=GENES, show=False),
    "tsne": lambda a: pl.tsne(a, color=GENES, show=False),
    "diffmap": lambda a: pl.diffmap(a, color=GENES, show=False),
    "draw_graph": lambda a: pl.draw_graph(a, color=GENES, show=False),
    "spatial": lambda a: pl.embedding(a, "spatial", color=GENES, show=False),
    "scatter": lambda a: pl.scatter(a, *GENES[:2], color=GENES[2], show=False),
    "scatter of X": lambda a: pl.scatter(a, *GENES[:2], color=GENES[2], use_raw=False, show=False),
    "scatter of a layer": lambda a: pl.scatter(
        a, *GENES[:2], color=GENES[2], layers="counts", use_raw=False, show=False
    ),
    "scatter in an embedding": lambda a: pl.scatter(a, basis="umap", color=GENES, show=False),
    "violin": lambda a: pl.violin(a, GENES, groupby="kind", show=False),
    "violin of a layer": lambda a: pl.violin(a, GENES, show=False, **OF_LAYER),
    "violin of X in panels": lambda a: pl.violin(a, GENES, multi_panel=True, use_raw=False, show=False),
    "paga": lambda a: pl.paga(a, color=GENES[0], show=False),
    "paga of several genes": lambda a: pl.paga(a, color=GENES, show=False),
    "paga of X": lambda a: pl.paga(a, color=GENES, use_raw=False, show=False),
    "paga_compare": lambda a: pl.paga_compare(a, basis="umap", color=GENES[0], show=False),
    "paga_path": lambda a: pl.paga_path(a, ["k0", "k1"], keys=GENES, n_avg=5, show=False),
    "rank_genes_groups_violin": lambda a: pl.rank_genes_groups_violin(a, n_genes=3, show=False),
    "rank_genes_groups_violin of genes": lambda a: pl.rank_genes_groups_violin(
        a, groups=["k1"], gene_names=GENES, use_raw=False, split=False, show=False
    ),
    "rank_genes_groups_dotplot": lambda a: pl.rank_genes_groups_dotplot(a, n_genes=2, show=False),
    "rank_genes_groups_dotplot of fold changes": lambda a: pl.rank_genes_groups_dotplot(
        a, n_genes=2, values_to_plot="logfoldchanges", show=False
    ),
    "rank_genes_groups_matrixplot": lambda a: pl.rank_genes_groups_matrixplot(
        a, n_genes=2, standard_scale="var", show=False
    ),
    "rank_genes_groups_stacked_violin": lambda a: pl.rank_genes_groups_stacked_violin(a, n_genes=2, show=False),
    "rank_genes_groups_heatmap": lambda a: pl.rank_genes_groups_heatmap(a, n_genes=2, swap_axes=True, show=False),
    "rank_genes_groups_tracksplot": lambda a: pl.rank_genes_groups_tracksplot(a, n_genes=2, show=False),
}

WITHOUT = {
    "rank_genes_groups": lambda a: pl.rank_genes_groups(a, n_genes=4, show=False),
    "highly_variable_genes": lambda a: pl.highly_variable_genes(a, show=False),
    "dendrogram": lambda a: pl.dendrogram(a, "kind", show=False),
    "correlation_matrix": lambda a: pl.correlation_matrix(a, "kind", show=False),
    "pca_loadings": lambda a: pl.pca_loadings(a, show=False),
    "pca_variance_ratio": lambda a: pl.pca_variance_ratio(a, show=False),
    "ranking": lambda a: pl.ranking(a, "uns", "variance_ratio", dictionary="pca", show=False),
    "embedding_density": lambda a: pl.embedding_density(a, "umap", key="umap_density_kind", show=False),
    "umap of annotations": lambda a: pl.umap(a, color=["kind", "time", None], show=False),
    "scatter of annotations": lambda a: pl.scatter(a, "time", "dpt_pseudotime", color="kind", show=False),
}


def forget(adata) -> None:
    for matrix in (adata.X, adata.raw.X, adata.layers["counts"]):
        for cache in matrix.copies.recent_columns():
            cache.clear()
    drop_copies(lambda _: True)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_plot_of_genes_is_memory_s_and_takes_one_pass_then_none(plotted, call):
    memory, lazy = plotted
    forget(lazy)
    found = []
    assert passes_of(lambda: found.append(picture(lambda: call(lazy)))) == 1
    np.testing.assert_array_equal(found[0], picture(lambda: call(memory)))
    assert passes_of(lambda: picture(lambda: call(lazy))) == 0
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.parametrize("call", WITHOUT.values(), ids=WITHOUT)
def test_a_plot_of_results_is_memory_s_and_reads_nothing(plotted, call):
    memory, lazy = plotted
    found = []
    assert passes_of(lambda: found.append(picture(lambda: call(lazy)))) == 0
    np.testing.assert_array_equal(found[0], picture(lambda: call(memory)))


@pytest.mark.parametrize(
    "call",
    [
        lambda a: pl.clustermap(a[:60, :20].copy(), use_raw=False, show=False),
        lambda a: pl.clustermap(a[:60, :20].copy(), "kind", use_raw=False, show=False),
    ],
    ids=["clustermap", "clustermap with colours"],
)
def test_a_plot_of_all_values_is_memory_s(plotted, call):
    memory, lazy = plotted
    np.testing.assert_array_equal(picture(lambda: call(lazy)), picture(lambda: call(memory)))
    assert isinstance(lazy.X, OOMMatrix)
