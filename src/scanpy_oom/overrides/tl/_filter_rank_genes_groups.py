"""Filtering ranked genes: :func:`scanpy.tl.filter_rank_genes_groups`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from ..._scanpy import SCANPY_1_13
from ...engine.compute import compute
from ...engine.explain import plan
from ...reductions import GroupMoments, Moments
from ..pp._compat import get_obs_rep

if TYPE_CHECKING:
    from ...matrix import OOMMatrix

__all__ = ["filter_rank_genes_groups"]


def filter_rank_genes_groups(
    adata: AnnData,
    *,
    key: str | None = None,
    groupby: str | None = None,
    use_raw: bool | None = None,
    layer: str | None = None,
    key_added: str = "rank_genes_groups_filtered",
    **arguments: object,
) -> None:
    """Filter ranked genes by fold change and by how many cells express them, in one pass for all groups.

    See :func:`scanpy.tl.filter_rank_genes_groups`.
    """
    genes = _RankedGenes(adata, key, groupby, use_raw, layer)
    plan.results(8 * genes.names.size)
    ranking = genes.ranking | genes.measured(compute(genes.x, genes.reduction()))
    # scanpy's own function, which finds in the ranking all that it would look for in the matrix
    nothing = sparse.csr_matrix((1, 0), dtype=np.float32)
    stand_in = AnnData(nothing, uns={genes.key: ranking})
    sc.tl.filter_rank_genes_groups(stand_in, key=genes.key, key_added=key_added, **arguments)
    filtered = adata.uns[genes.key].copy()
    filtered["names"] = stand_in.uns[key_added]["names"]
    adata.uns[key_added] = filtered


class _RankedGenes:
    """The genes of a ranking, and the cells of each of its groups."""

    def __init__(
        self,
        adata: AnnData,
        key: str | None,
        groupby: str | None,
        use_raw: bool | None,  # noqa: FBT001
        layer: str | None,
    ) -> None:
        self.key = "rank_genes_groups" if key is None else key
        found = adata.uns[self.key]
        params = found["params"]
        self.groupby = params["groupby"] if groupby is None else groupby
        if use_raw is None:
            use_raw = params["use_raw"] if layer is None else False
        self.use_raw = use_raw
        same = (params["groupby"], params["reference"], params["use_raw"]) == (self.groupby, "rest", self.use_raw)
        self.names = pd.DataFrame(found["names"])
        self.base = adata.uns.get("log1p", {}).get("base")
        self.ranking = {
            # scanpy compares these with what it is asked for, and finds X, of which there is always one
            "params": {**params, "groupby": self.groupby, "reference": "rest", "use_raw": False},
            "names": found["names"],
        }
        self.kept = {"logfoldchanges": found["logfoldchanges"]} if same and "logfoldchanges" in found else {}
        if same and "pts_rest" in found:
            self.kept |= {"pts": found["pts"], "pts_rest": found["pts_rest"]}

        shown = adata.raw if self.use_raw else adata
        self.genes = pd.Index(pd.unique(self.names.to_numpy().ravel()))
        if SCANPY_1_13:  # where a gene that is not there stands for the last one
            matrix: OOMMatrix = get_obs_rep(adata, use_raw=self.use_raw, layer=layer)
            self.x = matrix.select(None, shown.var_names.get_indexer(self.genes) % matrix.shape[1])
        else:
            self.x = shown[:, self.genes].X
        labels = adata.obs[self.groupby]
        self.codes = np.full(adata.n_obs, self.names.shape[1])
        for code, group in enumerate(self.names.columns):
            self.codes[(labels == group).to_numpy()] = code

    def reduction(self) -> GroupMoments:
        return GroupMoments(self.codes, self.names.shape[1] + 1)

    def measured(self, moments: Moments) -> dict[str, object]:
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

    def _inverted(self, means: np.ndarray) -> np.ndarray:
        return np.expm1(means if self.base is None else means * np.log(self.base))
