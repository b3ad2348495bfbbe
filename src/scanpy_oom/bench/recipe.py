"""The recipe: steps, in order, with their arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ALIASES", "FLAVORS", "NEEDS", "RECIPES", "STEPS", "Recipe", "parse_steps", "waiting_for"]

STEPS = (
    "read",
    "qc",
    "filter",
    "normalize",
    "log1p",
    "hvg",
    "subset",
    "scale",
    "pca",
    "neighbors",
    "umap",
    "leiden",
    "t-test",
    "wilcoxon",
    "plot",
    "write",
)
"""All steps, in the order in which they are taken."""

ALIASES = {"rank_genes_groups": ("t-test", "wilcoxon")}
"""Names that stand for several steps."""

NEEDS = {
    **{step: (before,) for before, step in pairwise(STEPS[: STEPS.index("umap") + 1])},
    "leiden": ("neighbors",),
    "t-test": ("subset", "leiden"),
    "wilcoxon": ("subset", "leiden"),
    "plot": ("umap", "leiden"),
    "write": ("scale",),
}
"""Steps without which another makes no sense, where they are among those to be taken."""

FLAVORS = ("seurat", "cell_ranger", "seurat_v3", "seurat_v3_paper", "pearson_residuals")


@dataclass(frozen=True)
class Recipe:
    """The arguments of the steps.

    Attributes
    ----------
    min_genes, min_counts, max_mt
        Cells with fewer genes or counts, or a higher percentage of mitochondrial counts, are left out.
    min_cells
        Genes in fewer cells are left out.
    target_sum
        What each cell's counts are scaled to.
    flavor, n_top_genes
        How variable genes are chosen, and how many.
    n_comps, n_neighbors
        Principal components and neighbours.
    n_ranked
        Marker genes of each group that are kept; `None` for all.
    """

    min_genes: int = 200
    min_counts: int = 0
    max_mt: float = 20.0
    min_cells: int = 3
    target_sum: float = 1e4
    flavor: str = "seurat"
    n_top_genes: int = 2000
    n_comps: int = 50
    n_neighbors: int = 15
    n_ranked: int | None = None

    @property
    def keeps_counts(self) -> bool:
        """True if variable genes are found from counts, which must be kept for it."""
        return self.flavor in {"seurat_v3", "seurat_v3_paper", "pearson_residuals"}

    def with_flavor(self, flavor: str | None) -> Recipe:
        """Return the same with another flavor, if there is one."""
        return self if flavor is None else replace(self, flavor=flavor)


RECIPES = {
    "scanpy": Recipe(),
    "anndataoom": Recipe(min_genes=250, min_counts=500, target_sum=5e5, flavor="pearson_residuals"),
}
"""Recipes by name: the usual arguments, and those of AnnDataOOM's tutorial."""


def parse_steps(text: str) -> tuple[str, ...]:
    """Turn ``"read,qc,pca"`` into steps, in the order in which they are taken; reading is always one.

    Raises
    ------
    ValueError
        If one is not known.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    asked = {step for name in names for step in ALIASES.get(name, (name,))} | {"read"}
    if unknown := [name for name in names if name not in {*STEPS, *ALIASES}]:
        known = ", ".join([*STEPS, *ALIASES])
        msg = f"there is no step {', '.join(map(repr, unknown))}; the steps are {known}"
        raise ValueError(msg)
    return tuple(step for step in STEPS if step in asked)


def waiting_for(step: str, steps: Sequence[str], not_done: Iterable[str]) -> str | None:
    """Return the step that `step` needs and that was not done; `None` if it can be taken."""
    missing = set(not_done)
    for need in NEEDS.get(step, ()):
        if need in missing:
            return need
        if need not in steps and (above := waiting_for(need, steps, missing)):
            return above
    return None
