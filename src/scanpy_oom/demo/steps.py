"""The workflow: scanpy calls as a script has them, one list for both runs. Only `read` knows where the matrix stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import scanpy as sc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["STEPS", "Plan", "Workflow", "choose_steps"]

MARKERS = ["CD3D", "IL7R", "MS4A1", "CD8A", "NKG7", "CD14", "LYZ", "FCGR3A", "MS4A7", "FCER1A", "CST3", "PPBP"]


@dataclass
class Workflow:
    """What the steps share.

    Parameters
    ----------
    file
        An h5ad with counts in X.
    backed
        The argument of this name of `scanpy.read_h5ad`.
    out
        Folder for the plots and for everything of the result but the matrix.
    groups
        Column of obs whose groups are characterised; without it, nothing is.
    """

    file: Path
    backed: str | None
    out: Path
    groups: str | None = "leiden"
    adata: ad.AnnData = field(init=False)

    def read(self) -> None:
        self.adata = sc.read_h5ad(self.file, backed=self.backed)
        self.adata.var_names_make_unique()

    def qc(self) -> None:
        self.adata.var["mt"] = self.adata.var_names.str.upper().str.startswith("MT-")
        sc.pp.calculate_qc_metrics(self.adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)

    def filter(self) -> None:
        sc.pp.filter_cells(self.adata, min_genes=200)
        sc.pp.filter_genes(self.adata, min_cells=3)
        self.adata = self.adata[self.adata.obs["pct_counts_mt"] < 20].copy()

    def normalize(self) -> None:
        sc.pp.normalize_total(self.adata, target_sum=1e4)

    def log1p(self) -> None:
        sc.pp.log1p(self.adata)

    def hvg(self) -> None:
        sc.pp.highly_variable_genes(self.adata, n_top_genes=2000)

    def subset(self) -> None:
        self.adata.raw = self.adata
        self.adata = self.adata[:, self.adata.var["highly_variable"]].copy()

    def scale(self) -> None:
        sc.pp.scale(self.adata, max_value=10)

    def pca(self) -> None:
        sc.pp.pca(self.adata)

    def neighbors(self) -> None:
        sc.pp.neighbors(self.adata)

    def umap(self) -> None:
        sc.tl.umap(self.adata)

    def leiden(self) -> None:
        sc.tl.leiden(self.adata, flavor="igraph", n_iterations=2, directed=False)

    def rank_genes_groups(self) -> None:
        sc.tl.rank_genes_groups(self.adata, self.groups, method="t-test", n_genes=100)

    def plot(self) -> None:
        genes = [gene for gene in MARKERS if gene in self.adata.raw.var_names] or list(self.adata.var_names[:3])
        colors = [genes[0], genes[-1], *([self.groups] if self.groups else [])]
        sc.pl.umap(self.adata, color=colors, show=False)
        self._save_figure("umap")
        if self.groups:
            sc.pl.violin(self.adata, genes[:3], groupby=self.groups, rotation=90, show=False)
            self._save_figure("violin")
            sc.pl.dotplot(self.adata, genes, groupby=self.groups, show=False)
            self._save_figure("dotplot")

    def _save_figure(self, name: str) -> None:
        plt.savefig(self.out / f"{name}.png", dpi=100, bbox_inches="tight")
        plt.close("all")

    def save(self) -> Path:
        """Write everything but the matrix, for the comparison. Not one of the measured steps."""
        adata, path = self.adata, self.out / "result.h5ad"
        slots = {name: dict(getattr(adata, name)) for name in ("uns", "obsm", "varm")}
        ad.AnnData(obs=adata.obs, var=adata.var, **slots).write_h5ad(path)
        return path


STEPS: dict[str, Callable[[Workflow], None]] = {
    "read": Workflow.read,
    "qc": Workflow.qc,
    "filter": Workflow.filter,
    "normalize": Workflow.normalize,
    "log1p": Workflow.log1p,
    "hvg": Workflow.hvg,
    "subset": Workflow.subset,
    "scale": Workflow.scale,
    "pca": Workflow.pca,
    "neighbors": Workflow.neighbors,
    "umap": Workflow.umap,
    "leiden": Workflow.leiden,
    "rank_genes_groups": Workflow.rank_genes_groups,
    "plot": Workflow.plot,
}


@dataclass(frozen=True)
class Plan:
    """Which steps are taken.

    Attributes
    ----------
    steps
        Their names.
    groups
        Column of obs for `rank_genes_groups` and for plots by group; `None` if there is none.
    left_out
        Step and reason, for each step that is not taken.
    """

    steps: tuple[str, ...]
    groups: str | None
    left_out: dict[str, str] = field(default_factory=dict)


def choose_steps(categories: list[str]) -> Plan:
    """Find which steps can be taken with what is installed.

    Parameters
    ----------
    categories
        Categorical columns of the file's obs: the first stands in for clusters where there can be none.
    """
    if find_spec("igraph"):
        return Plan(tuple(STEPS), "leiden")
    left_out = {"leiden": "igraph is not installed (pip install igraph)"}
    if not categories:
        left_out["rank_genes_groups"] = "without clusters, and without a categorical column in obs, there are no groups"
    return Plan(tuple(step for step in STEPS if step not in left_out), next(iter(categories), None), left_out)
