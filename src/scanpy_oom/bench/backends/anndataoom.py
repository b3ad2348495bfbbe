"""anndataoom, by its own chunked functions; scanpy where it has none."""

from __future__ import annotations

import anndataoom
import numpy as np
import scanpy as sc

from . import memory

__all__ = ["Workflow"]


class Workflow(memory.Workflow):
    """The steps, as its tutorial has them. Variable genes are always those of Pearson residuals: it has no others."""

    def read(self) -> None:
        self.adata = anndataoom.read(str(self.file))
        self.adata.var_names_make_unique()

    def qc(self) -> None:
        self.adata.var["mt"] = self.adata.var_names.str.upper().str.startswith("MT-")
        anndataoom.chunked_qc_metrics(self.adata)
        share = anndataoom.chunked_gene_group_pct(self.adata, self.adata.var["mt"].to_numpy())
        self.adata.obs["pct_counts_mt"] = 100 * share

    def filter(self) -> None:
        # The order of the run in memory: genes are counted in the cells with enough genes
        cells = self.adata.obs["detected_genes"].to_numpy() >= self.recipe.min_genes
        if not cells.all():
            self.adata.subset(np.flatnonzero(cells))
        self.adata.subset(None, np.flatnonzero(self.adata.X.getnnz(axis=0) >= self.recipe.min_cells))
        obs = self.adata.obs
        keep = (obs["pct_counts_mt"] <= self.recipe.max_mt) & (obs["nUMIs"] >= self.recipe.min_counts)
        self.adata.subset(np.flatnonzero(keep))

    def normalize(self) -> None:
        anndataoom.chunked_normalize_total(self.adata, target_sum=self.recipe.target_sum)

    def log1p(self) -> None:
        anndataoom.chunked_log1p(self.adata)

    def hvg(self) -> None:
        anndataoom.chunked_highly_variable_genes_pearson(
            self.adata, layer="counts", n_top_genes=self.recipe.n_top_genes
        )

    def subset(self) -> None:
        self.adata.raw = self.adata
        self.adata = self.adata[:, self.adata.var["highly_variable"].to_numpy(bool)]

    def scale(self) -> None:
        anndataoom.chunked_scale(self.adata, max_value=10)

    def pca(self) -> None:
        found, _, _ = anndataoom.chunked_pca(self.adata, layer="scaled", n_comps=self.recipe.n_comps)
        self.adata.obsm["X_pca"] = np.asarray(found)

    def neighbors(self) -> None:
        sc.pp.neighbors(self.adata, n_neighbors=self.recipe.n_neighbors, use_rep="X_pca")

    def notes(self) -> list[str]:
        """Tell where it does something else than was asked for."""
        if self.recipe.flavor == "pearson_residuals":
            return []
        return [f"variable genes by Pearson residuals: anndataoom has no flavor {self.recipe.flavor}"]
