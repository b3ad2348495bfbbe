"""Selection of genes and principal components by Pearson residuals: :mod:`scanpy.experimental.pp._recipes`."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg

from .... import _scanpy
from ....engine.explain import plan
from ._highly_variable_genes import annotate, log_added, rank_genes
from ._normalization import decompose, keys_of_pca, require_frame, to_frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from ...._scanpy import Seed

__all__ = ["recipe_pearson_residuals"]


def recipe_pearson_residuals(  # noqa: PLR0913
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    n_top_genes: int = 1000,
    batch_key: str | None = None,
    chunksize: int = 1000,
    n_comps: int | None = 50,
    random_state: Seed = 0,
    kwargs_pca: Mapping[str, object] = MappingProxyType({}),
    check_values: bool = True,
    inplace: bool = True,
) -> tuple[AnnData, pd.DataFrame] | None:
    """Select genes by Pearson residuals, and take principal components of theirs.

    `adata` is changed at the end, or not at all. Of the residuals, scanpy leaves a data frame in `adata.uns`, which is
    refused beforehand if it does not fit ``settings.memory_limit``; with `inplace=False` they are returned as a matrix
    that is computed where it is read. `chunksize` changes nothing, as in scanpy. See
    :func:`scanpy.experimental.pp.recipe_pearson_residuals`.
    """
    if inplace:
        require_frame(adata.n_obs, min(n_top_genes, adata.n_vars), "recipe_pearson_residuals")
    logg.info("extracting highly variable genes")
    _scanpy.view_to_actual(adata)
    how: dict[str, Any] = {"theta": theta, "clip": clip, "check_values": check_values}
    hvg = plan.or_assume(
        partial(rank_genes, adata, n_top_genes=n_top_genes, batch_key=batch_key, **how),
        lambda: pd.DataFrame({"highly_variable": np.arange(adata.n_vars) < n_top_genes}),
    )
    if inplace:
        log_added()
    selected = adata[:, hvg["highly_variable"].to_numpy()].copy()
    if inplace:
        selected.var["highly_variable"] = True  # the mask that scanpy's PCA takes, and names
    decompose(selected, theta, clip, n_comps, random_state, kwargs_pca, check_values=check_values)
    if not inplace:
        plan.end()
        hvg = hvg if batch_key is not None else hvg.drop(columns=_OF_BATCHES)
        return selected, hvg
    settings = {**selected.uns["pearson_residuals_normalization"], "pearson_residuals_df": to_frame(selected)}
    shape: Any = (adata.n_vars, n_comps)  # as in scanpy, `n_comps` must be given
    loadings = np.zeros(shape)
    in_obsm, in_varm, in_uns = keys_of_pca(kwargs_pca)
    loadings[hvg["highly_variable"].to_numpy()] = selected.varm[in_varm]
    annotate(adata, hvg, None, batched=batch_key is not None)
    adata.uns[in_uns] = selected.uns[in_uns]
    adata.varm[in_varm] = loadings
    adata.uns["pearson_residuals_normalization"] = settings
    adata.obsm[in_obsm] = selected.obsm[in_obsm]
    return None


_OF_BATCHES = ["highly_variable_nbatches", "highly_variable_intersection"]
