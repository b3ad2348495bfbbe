"""The classic scanpy workflow on a file of counts: quality control, normalisation, clusters, marker genes, plots.

Usage::

    python examples/pbmc3k.py FILE.h5ad [--backed oom] [--out DIR]

This is an ordinary scanpy script. It runs in memory as it stands. With ``--backed oom`` the argument goes to
`sc.read_h5ad`, and every call below runs out of memory; so it does, without that argument, when it is started as
``python -m scanpy_oom examples/pbmc3k.py FILE.h5ad``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import scanpy as sc

parser = argparse.ArgumentParser(description="The classic scanpy workflow on a file of counts.")
parser.add_argument("file", type=Path, help="an h5ad with counts in X")
parser.add_argument("--backed", help="handed to sc.read_h5ad; 'oom' leaves the matrix on disk")
parser.add_argument("--out", type=Path, default=Path("pbmc3k_results"), help="folder for results and plots")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
plt.switch_backend("agg")  # plots go to files

adata = sc.read_h5ad(args.file, backed=args.backed)
adata.var_names_make_unique()

# Quality control
adata.var["mt"] = adata.var_names.str.startswith("MT-")
sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
sc.pp.filter_cells(adata, min_genes=200)
sc.pp.filter_genes(adata, min_cells=3)
adata = adata[(adata.obs["n_genes_by_counts"] < 2500) & (adata.obs["pct_counts_mt"] < 5)].copy()

# Normalisation and highly variable genes
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)
sc.pp.highly_variable_genes(adata, n_top_genes=2000)
adata.raw = adata
adata = adata[:, adata.var["highly_variable"]].copy()

# Principal components, neighbours, embedding, clusters
sc.pp.scale(adata, max_value=10)
sc.pp.pca(adata)
sc.pp.neighbors(adata, n_neighbors=10, n_pcs=40)
sc.tl.umap(adata)
sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)

# The 100 top marker genes of each cluster, out of all genes (raw)
sc.tl.rank_genes_groups(adata, "leiden", method="t-test", n_genes=100)
markers = sc.get.rank_genes_groups_df(adata, group=None)

# Plots
known = ["CD3D", "IL7R", "MS4A1", "CD8A", "NKG7", "CD14", "LYZ", "FCGR3A", "MS4A7", "FCER1A", "CST3", "PPBP"]
genes = [gene for gene in known if gene in adata.raw.var_names] or list(adata.var_names[:3])


def save(name: str) -> None:
    """Write the figure that scanpy has just drawn."""
    plt.savefig(args.out / name, dpi=120, bbox_inches="tight")
    plt.close("all")


sc.pl.umap(adata, color=[genes[0], genes[-1], "leiden"], show=False)
save("umap.png")
sc.pl.violin(adata, genes[:3], groupby="leiden", show=False)
save("violin.png")
sc.pl.dotplot(adata, genes, groupby="leiden", show=False)
save("dotplot.png")

# Results: everything but the matrix
markers.to_csv(args.out / "markers.csv", index=False)
result = ad.AnnData(obs=adata.obs, var=adata.var, uns=dict(adata.uns), obsm=dict(adata.obsm), varm=dict(adata.varm))
result.write_h5ad(args.out / "result.h5ad")
print(f"{adata.n_obs} cells in {adata.obs['leiden'].nunique()} clusters; results and plots are in {args.out}")
