from __future__ import annotations

import io
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import scanpy as sc

from ...matrices import annotated, counts

mpl.use("agg")
from matplotlib import image
from matplotlib import pyplot as plt

GENES = ["gene3", "gene17", "gene4", "gene30"]


def picture(draw) -> np.ndarray:
    """Pixels of what `draw` draws."""
    plt.close("all")
    np.random.seed(0)  # for those who jitter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw()
        buffer = io.BytesIO()
        plt.gcf().savefig(buffer, dpi=30)
    plt.close("all")
    buffer.seek(0)
    return image.imread(buffer)[..., :3]


def prepared(adata):
    """Do what notebooks do before they plot."""
    i = np.arange(adata.n_obs)
    adata.obs["time"] = np.cos(i)
    adata.var["symbol"] = [f"symbol {name}" for name in adata.var_names]
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    adata.raw = adata
    sc.tl.rank_genes_groups(adata, "kind", pts=True)
    sc.pp.highly_variable_genes(adata, n_top_genes=20)
    adata = adata[:, :55].copy()  # so few that scanpy would not reduce them are 50
    sc.pp.pca(adata, n_comps=5)
    sc.pp.neighbors(adata, n_neighbors=5, random_state=0)
    sc.tl.paga(adata, groups="kind")
    for name in ("umap", "tsne", "draw_graph_fr"):
        adata.obsm[f"X_{name}"] = np.c_[np.sin(i), np.cos(i)]
    adata.obsm["spatial"] = adata.obsm["X_umap"]
    adata.uns["draw_graph"] = {"params": {"layout": "fr"}}
    adata.obsm["X_diffmap"] = np.c_[np.sin(i), np.cos(i), np.sin(2 * i)]
    adata.obs["dpt_pseudotime"] = i / adata.n_obs
    adata.obs["dpt_groups"] = adata.obs["kind"]
    adata.obs["dpt_order"] = adata.obs["dpt_order_indices"] = i
    adata.uns["dpt_changepoints"] = np.array([20, 60])
    adata.uns["dpt_grouporder"] = adata.uns["dpt_groups_order"] = ["k0", "k1", "k2"]
    adata.uns["paga"]["pos"] = np.array([[0.0, 0], [1, 1], [0, 1]])
    sc.tl.dendrogram(adata, "kind")
    sc.tl.embedding_density(adata, "umap", groupby="kind")
    return adata


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("pl") / "a.h5ad"
    annotated(counts(120, 60, density=0.4)).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def plotted(path):
    """An AnnData in memory, and the same out of memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepared(sc.read_h5ad(path)), prepared(sc.read_h5ad(path, backed="oom"))
