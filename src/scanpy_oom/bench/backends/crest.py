"""CREST, in memory: its own functions, on a frame of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import crest
import numpy as np

from . import memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Workflow"]


class Workflow(memory.Workflow):
    """The steps, as its README has them. Variable genes are chosen for PCA, and others stay."""

    frame: Any

    def read(self) -> None:
        self.frame = crest.read_h5ad(self.file)

    def qc(self) -> None:
        crest.pp.calculate_qc_metrics(self.frame)

    def filter(self) -> None:
        recipe = self.recipe
        self.frame = crest.pp.filter_cells(self.frame, min_genes=recipe.min_genes)
        self.frame = crest.pp.filter_genes(self.frame, min_cells=recipe.min_cells)
        self.frame = crest.pp.filter_cells(self.frame, min_counts=recipe.min_counts, max_pct_mt=recipe.max_mt)

    def normalize(self) -> None:
        crest.pp.normalize_total(self.frame, target_sum=self.recipe.target_sum)

    def log1p(self) -> None:
        crest.pp.log1p(self.frame)

    def hvg(self) -> None:
        crest.pp.highly_variable_genes(self.frame, n_top_genes=self.recipe.n_top_genes, flavor=self.recipe.flavor)

    def subset(self) -> None:
        """Do nothing: PCA takes the variable genes, and tests take all."""

    def scale(self) -> None:
        crest.pp.scale(self.frame, max_value=10)

    def pca(self) -> None:
        crest.tl.pca(self.frame, n_comps=self.recipe.n_comps)

    def neighbors(self) -> None:
        crest.pp.neighbors(self.frame, n_neighbors=self.recipe.n_neighbors)

    def umap(self) -> None:
        crest.tl.umap(self.frame)

    def leiden(self) -> None:
        crest.tl.leiden(self.frame, n_iterations=2)

    def t_test(self) -> None:
        crest.tl.rank_genes_groups(self.frame, self.groups, method="t-test", n_genes=self.recipe.n_ranked)

    def wilcoxon(self) -> None:
        crest.tl.rank_genes_groups(self.frame, self.groups, method="wilcoxon", n_genes=self.recipe.n_ranked)

    def plot(self) -> None:
        """Hand the genes that are plotted to scanpy: it has no plots."""
        genes = np.isin(self.frame.var_names, memory.MARKERS)
        if not genes.any():
            genes[:3] = True
        self.adata = self.frame.filter_genes(genes).to_anndata(transform=True)
        self.adata.raw = self.adata
        super().plot()

    def write(self) -> None:
        self.frame.write_parquet(self.out / "written")

    def save(self, suffix: str) -> None:
        """Keep what all backends have in common: it has no AnnData."""
        if suffix == ".npz":
            np.savez(self.out / f"result{suffix}", **self._compared())

    def _compared(self) -> dict[str, Any]:
        obs, var, obsm = self.frame.obs, self.frame.var, self.frame.obsm
        found: dict[str, Any] = {"cells": obs["barcode" if "barcode" in obs.columns else obs.columns[0]].to_numpy()}
        found["cells"] = found["cells"].astype(str)
        if "highly_variable" in var.columns:
            names = np.array(self.frame.var_names, dtype=str)
            found["genes"] = names[var["highly_variable"].to_numpy().astype(bool)]
        if "leiden" in obs.columns:
            found["clusters"] = obs["leiden"].to_numpy().astype(str)
        if "X_pca" in obsm:
            found["pca"] = np.asarray(obsm["X_pca"])
        return found | self._of_graph(SimpleNamespace(obsm=obsm))

    def _neighbors_of(self, cells: NDArray[np.intp]) -> NDArray[np.int64] | None:
        told = self.frame.uns.get("neighbors")
        return None if told is None else np.asarray(told["indices"])[cells].astype(np.int64)
