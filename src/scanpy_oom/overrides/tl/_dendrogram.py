"""Trees of groups of cells by their expression: :func:`scanpy.tl.dendrogram`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from ... import _scanpy
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...reductions import GroupMoments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...matrix import OOMMatrix
    from ...reductions.moments import Moments

__all__ = ["dendrogram"]


def dendrogram(
    adata: AnnData,
    groupby: str | Sequence[str],
    *,
    n_pcs: int | None = None,
    use_rep: str | None = None,
    var_names: Sequence[str] | None = None,
    use_raw: bool | None = None,
    key_added: str | None = None,
    inplace: bool = True,
    **arguments: object,
) -> dict[str, object] | None:
    """Compute a tree of groups of cells from their means, which take one pass.

    See :func:`scanpy.tl.dendrogram`.
    """
    if var_names is not None:
        _scanpy.sanitize_anndata(adata)
    means = _Means(adata, groupby, use_rep=use_rep, use_raw=use_raw, by_genes=var_names is not None)
    where = {"n_pcs": n_pcs, "use_rep": use_rep, "var_names": var_names, "use_raw": False}
    plan.results(8 * len(means.first) ** 2)
    stand_in = means.stand_in(compute(means.x, means.reduction()))
    # scanpy's own function, on one cell a group
    result = sc.tl.dendrogram(stand_in, groupby, key_added=key_added, inplace=inplace, **where, **arguments)
    for key, value in stand_in.uns.items():
        adata.uns[key] = value
    return result


class _Means:
    """Groups of cells, of which the mean is wanted."""

    def __init__(
        self, adata: AnnData, groupby: str | Sequence[str], *, use_rep: object, use_raw: bool | None, by_genes: bool
    ) -> None:
        if use_rep is not None and not isinstance(use_rep, str):
            reason = f"`use_rep={use_rep!r}` is an accessor"
            raise UnsupportedOutOfMemory(reason)
        keys = [groupby] if isinstance(groupby, str) else list(groupby)
        if not all(key in adata.obs and isinstance(adata.obs[key].dtype, pd.CategoricalDtype) for key in keys):
            reason = f"`groupby={groupby!r}` does not name categories"
            raise UnsupportedOutOfMemory(reason)  # scanpy says what is wrong
        self.obs = adata.obs
        self.x: OOMMatrix = adata.X
        self.names = adata.var_names
        if by_genes and (use_raw or (use_raw is None and adata.raw is not None)):
            self.x = adata.raw.X
            if not adata.raw.var_names.is_unique:
                reason = "`adata.raw.var_names` holds names twice"
                raise UnsupportedOutOfMemory(reason)  # scanpy says so
            if use_raw:
                self.names = adata.raw.var_names
            else:  # scanpy then looks for the names of `adata`
                self.x = adata.raw[:, self.names].X
        if not by_genes and not self.x.is_dense:
            reason = "scanpy takes no sparse matrix for a representation of the cells"
            raise UnsupportedOutOfMemory(reason)
        labels = self.obs[keys[0]] if len(keys) == 1 else self.obs[keys].astype(str).agg("_".join, axis=1)
        self.codes, distinct = pd.factorize(labels)
        # a cell of each group, whose annotations are those of the group
        self.first = np.unique(self.codes, return_index=True)[1][-len(distinct) :]

    def reduction(self) -> GroupMoments:
        return GroupMoments(self.codes, len(self.first))

    def stand_in(self, moments: Moments) -> AnnData:
        """Return the means as cells of an AnnData, in the precision of those of pandas."""
        dtype = self.x.dtype if self.x.dtype.kind == "f" else np.dtype(np.float64)
        means = (moments.total / moments.n[:, None]).astype(dtype)
        if np.isnan(means).any():
            reason = "some values are missing, which pandas leaves out of means"
            raise UnsupportedOutOfMemory(reason)
        return AnnData(means, obs=self.obs.iloc[self.first], var=pd.DataFrame(index=self.names))
