"""scanpy, in memory, with another seed from the graph on: what two runs of scanpy itself differ by."""

from __future__ import annotations

import scanpy as sc

from . import memory

__all__ = ["Workflow"]

SEED = 1


class Workflow(memory.Workflow):
    """The steps, as methods."""

    def neighbors(self) -> None:
        sc.pp.neighbors(self.adata, n_neighbors=self.recipe.n_neighbors, random_state=SEED)

    def umap(self) -> None:
        sc.tl.umap(self.adata, random_state=SEED)

    def leiden(self) -> None:
        sc.tl.leiden(self.adata, flavor="igraph", n_iterations=2, directed=False, random_state=SEED)
