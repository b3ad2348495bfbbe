"""Filtering ranked genes: :func:`scanpy.tl.filter_rank_genes_groups`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from ..passes import GroupMoments, Moments, Request, run
from ..passes.outline import Outline, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["filter_rank_genes_groups", "plan_filter_rank_genes_groups"]


def filter_rank_genes_groups(
    adata: AnnData,
    *,
    key: str | None = None,
    groupby: str | None = None,
    use_raw: bool | None = None,
    key_added: str = "rank_genes_groups_filtered",
    **arguments: Any,
) -> None:
    """Filter ranked genes by fold change and by how many cells express them, in one pass for all groups.

    See :func:`scanpy.tl.filter_rank_genes_groups`.
    """
    genes = _RankedGenes(adata, key, groupby, use_raw)
    ranking = genes.ranking | genes.measured(run([genes.request()])[0][0])
    # scanpy's own function, which finds in the ranking all that it would look for in the matrix
    nothing = sparse.csr_matrix((1, 0), dtype=np.float32)
    stand_in = AnnData(nothing, uns={genes.key: ranking})
    sc.tl.filter_rank_genes_groups(stand_in, key=genes.key, key_added=key_added, **arguments)
    filtered = adata.uns[genes.key].copy()
    filtered["names"] = stand_in.uns[key_added]["names"]
    adata.uns[key_added] = filtered


def plan_filter_rank_genes_groups(
    adata: AnnData, *, key: str | None = None, groupby: str | None = None, use_raw: bool | None = None, **_: Any
) -> Outline:
    """Plan :func:`filter_rank_genes_groups`."""
    genes = _RankedGenes(adata, key, groupby, use_raw)
    return Outline([Step([genes.request()])], results=8 * genes.names.size)


class _RankedGenes:
    """The genes of a ranking, and the cells of each of its groups."""

    def __init__(self, adata: AnnData, key: str | None, groupby: str | None, use_raw: bool | None) -> None:  # noqa: FBT001
        self.key = "rank_genes_groups" if key is None else key
        found = adata.uns[self.key]
        params = found["params"]
        self.groupby = params["groupby"] if groupby is None else groupby
        self.use_raw = params["use_raw"] if use_raw is None else use_raw
        same = (params["groupby"], params["reference"], params["use_raw"]) == (self.groupby, "rest", self.use_raw)
        self.names = pd.DataFrame(found["names"])
        self.base = adata.uns.get("log1p", {}).get("base")
        self.ranking = {
            "params": {**params, "groupby": self.groupby, "reference": "rest", "use_raw": self.use_raw},
            "names": found["names"],
        }
        self.kept = {"logfoldchanges": found["logfoldchanges"]} if same and "logfoldchanges" in found else {}
        if same and "pts_rest" in found:
            self.kept |= {"pts": found["pts"], "pts_rest": found["pts_rest"]}

        shown: Any = adata.raw if self.use_raw else adata
        self.genes = pd.Index(pd.unique(self.names.to_numpy().ravel()))
        self.x: OOMMatrix = shown[:, self.genes].X
        labels = adata.obs[self.groupby]
        self.codes = np.full(adata.n_obs, self.names.shape[1])
        for code, group in enumerate(self.names.columns):
            self.codes[(labels == group).to_numpy()] = code

    def request(self) -> Request:
        return Request(self.x, [GroupMoments(self.codes, self.names.shape[1] + 1)])

    def measured(self, moments: Moments) -> dict[str, Any]:
        """Return fractions of cells and fold changes, as scanpy takes them from the matrix; those known as they are."""
        k = self.names.shape[1]
        rest = moments.complement(k)
        with np.errstate(invalid="ignore", divide="ignore"):  # a group without cells
            fractions = [(m.nnz[:k] / m.n[:k, None]).T for m in (moments, rest)]
            means = [self._inverted((m.total[:k] / m.n[:k, None]).astype(self._mean_dtype)) for m in (moments, rest)]
            changes = np.log2((means[0] + 1e-9) / (means[1] + 1e-9))
        pts, pts_rest = (pd.DataFrame(f, index=self.genes, columns=self.names.columns) for f in fractions)
        # fold changes are listed as the names are
        at = [self.genes.get_indexer(self.names[group]) for group in self.names.columns]
        columns = [changes[group, where].astype(np.float64) for group, where in enumerate(at)]
        listed = pd.DataFrame(dict(zip(self.names.columns, columns, strict=True)))
        return {"pts": pts, "pts_rest": pts_rest, "logfoldchanges": listed.to_records(index=False)} | self.kept

    @property
    def _mean_dtype(self) -> np.dtype:
        probe = np.zeros((1, 1), self.x.dtype)
        return (probe if self.x.is_dense else sparse.csr_matrix(probe)).mean(0).dtype

    def _inverted(self, means: NDArray) -> NDArray:
        return np.expm1(means if self.base is None else means * np.log(self.base))
