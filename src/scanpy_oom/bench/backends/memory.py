"""scanpy, in memory: the calls that the other backends share or replace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ..recipe import Recipe
    from ..run import Suffix

__all__ = ["Workflow"]

N_COMPARED = 2000
"""Cells whose neighbours are compared with all others."""

MARKERS = ["CD3D", "IL7R", "MS4A1", "CD8A", "NKG7", "CD14", "LYZ", "FCGR3A", "MS4A7", "FCER1A", "CST3", "PPBP"]
"""Genes that are plotted where they are present."""


@dataclass
class Workflow:
    """The steps, as methods.

    Parameters
    ----------
    file
        An h5ad with counts in X.
    out
        Folder for plots and for what is written.
    recipe
        Arguments of the steps.
    groups
        Column of obs whose groups are characterised.

    Attributes
    ----------
    left_out
        Why a step is not taken, by its name: what the package has no function for.
    """

    left_out: ClassVar[Mapping[str, str]] = {}

    file: Path
    out: Path
    recipe: Recipe
    groups: str
    adata: ad.AnnData = field(init=False)

    def step(self, name: str) -> Callable[[], None]:
        """Return what takes the step of this name."""
        found: Callable[[], None] = getattr(self, name.replace("-", "_"))
        return found

    def read(self) -> None:
        self.adata = sc.read_h5ad(self.file)
        self.adata.var_names_make_unique()

    def qc(self) -> None:
        self.adata.var["mt"] = self.adata.var_names.str.upper().str.startswith("MT-")
        sc.pp.calculate_qc_metrics(self.adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)

    def filter(self) -> None:
        sc.pp.filter_cells(self.adata, min_genes=self.recipe.min_genes)
        sc.pp.filter_genes(self.adata, min_cells=self.recipe.min_cells)
        obs = self.adata.obs
        keep = (obs["pct_counts_mt"] <= self.recipe.max_mt) & (obs["total_counts"] >= self.recipe.min_counts)
        self.adata = self.adata[keep].copy()

    def normalize(self) -> None:
        if self.recipe.keeps_counts:
            self.adata.layers["counts"] = self.adata.X.copy()
        sc.pp.normalize_total(self.adata, target_sum=self.recipe.target_sum)

    def log1p(self) -> None:
        sc.pp.log1p(self.adata)

    def hvg(self) -> None:
        counts = {"layer": "counts"} if self.recipe.keeps_counts else {}
        arguments = {"flavor": self.recipe.flavor, "n_top_genes": self.recipe.n_top_genes, **counts}
        if self.recipe.flavor == "pearson_residuals":
            sc.experimental.pp.highly_variable_genes(self.adata, **arguments)
        else:
            sc.pp.highly_variable_genes(self.adata, **arguments)

    def subset(self) -> None:
        self.adata.raw = self.adata
        self.adata = self.adata[:, self.adata.var["highly_variable"]].copy()

    def scale(self) -> None:
        sc.pp.scale(self.adata, max_value=10)

    def pca(self) -> None:
        sc.pp.pca(self.adata, n_comps=self.recipe.n_comps)

    def neighbors(self) -> None:
        sc.pp.neighbors(self.adata, n_neighbors=self.recipe.n_neighbors)

    def umap(self) -> None:
        sc.tl.umap(self.adata)

    def leiden(self) -> None:
        sc.tl.leiden(self.adata, flavor="igraph", n_iterations=2, directed=False)

    def t_test(self) -> None:
        sc.tl.rank_genes_groups(self.adata, self.groups, method="t-test", n_genes=self.recipe.n_ranked)

    def wilcoxon(self) -> None:
        ranked = {"n_genes": self.recipe.n_ranked, "key_added": "wilcoxon"}
        sc.tl.rank_genes_groups(self.adata, self.groups, method="wilcoxon", **ranked)

    def plot(self) -> None:
        genes = [gene for gene in MARKERS if gene in self.adata.raw.var_names] or list(self.adata.var_names[:3])
        has_groups = self.groups in self.adata.obs
        sc.pl.umap(self.adata, color=[genes[0], genes[-1], *([self.groups] if has_groups else [])], show=False)
        self._save_figure("umap")
        if has_groups:
            sc.pl.violin(self.adata, genes[:3], groupby=self.groups, rotation=90, show=False)
            self._save_figure("violin")
            sc.pl.dotplot(self.adata, genes, groupby=self.groups, show=False)
            self._save_figure("dotplot")

    def _save_figure(self, name: str) -> None:
        plt.savefig(self.out / f"{name}.png", dpi=100, bbox_inches="tight")
        plt.close("all")

    def write(self) -> None:
        self.adata.write_h5ad(self.out / "written.h5ad", compression="gzip")

    def save(self, suffix: Suffix) -> None:
        """Keep the results for comparison, or nothing. Not one of the measured steps."""
        adata, path = self.adata, self.out / f"result{suffix}"
        if suffix == ".h5ad":
            slots = {name: dict(getattr(adata, name)) for name in ("uns", "obsm", "varm")}
            ad.AnnData(obs=adata.obs, var=adata.var, **slots).write_h5ad(path)
        elif suffix == ".npz":
            np.savez(path, **self._compared())

    def _compared(self) -> dict[str, Any]:
        """Return what any two backends have in common."""
        adata = self.adata
        found = {"cells": adata.obs_names.to_numpy(dtype=str)}
        if "highly_variable" in adata.var:  # before the step `subset` and after it
            found["genes"] = adata.var_names[adata.var["highly_variable"].to_numpy(bool)].to_numpy(dtype=str)
        if "X_pca" in adata.obsm:
            found["pca"] = np.asarray(adata.obsm["X_pca"])
        if "leiden" in adata.obs:
            found["clusters"] = adata.obs["leiden"].to_numpy(dtype=str)
        return found | self._of_graph(adata)

    def _of_graph(self, data: Any) -> dict[str, Any]:
        """Return the layout, and neighbours of some cells, the same ones of any backend."""
        found: dict[str, Any] = {}
        if "X_umap" in data.obsm:
            found["umap"] = np.asarray(data.obsm["X_umap"])
        if "X_pca" in data.obsm:
            n = len(data.obsm["X_pca"])
            some = np.sort(np.random.default_rng(0).permutation(n)[:N_COMPARED])
            neighbors = self._neighbors_of(some)
            if neighbors is not None:
                found |= {"some": some, "neighbors": neighbors}
        return found

    def _neighbors_of(self, cells: NDArray[np.intp]) -> NDArray[np.int64] | None:
        """Return the neighbours of cells, themselves not among them; -1 where there are no more."""
        distances = self.adata.obsp.get("distances")
        if distances is None:
            return None
        rows = [distances[cell].indices for cell in cells]
        found = np.full((len(cells), self.recipe.n_neighbors), -1)
        for row, (cell, indices) in zip(found, zip(cells, rows, strict=True), strict=True):
            others = indices[indices != cell][: row.size]
            row[: others.size] = others
        return found

    def notes(self) -> list[str]:
        """Return what is to be known of the run."""
        return []
