"""Selection of genes and principal components by Pearson residuals: :mod:`scanpy.experimental.pp._recipes`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy import logging as logg
from scanpy._utils import view_to_actual

from ...passes.outline import Outline
from ._highly_variable_genes import annotate, log_added, plan_highly_variable_genes, rank_genes
from ._normalization import decompose, plan_decomposition, require_frame, to_frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

    from ...matrix import OOMMatrix

__all__ = ["plan_recipe_pearson_residuals", "recipe_pearson_residuals"]


def recipe_pearson_residuals(  # noqa: PLR0913
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    n_top_genes: int = 1000,
    batch_key: str | None = None,
    chunksize: int = 1000,
    n_comps: int | None = 50,
    random_state: float | None = 0,
    kwargs_pca: Mapping[str, Any] = MappingProxyType({}),
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
    view_to_actual(adata)
    how: dict[str, Any] = {"theta": theta, "clip": clip, "check_values": check_values}
    hvg = rank_genes(adata, n_top_genes=n_top_genes, batch_key=batch_key, **how)
    if inplace:
        log_added()
    selected = adata[:, hvg["highly_variable"].to_numpy()].copy()
    if inplace:
        selected.var["highly_variable"] = True  # the mask that scanpy's PCA takes, and names
    decompose(selected, theta, clip, n_comps, random_state, kwargs_pca, check_values=check_values)
    if not inplace:
        hvg = hvg if batch_key is not None else hvg.drop(columns=_OF_BATCHES)
        return selected, hvg
    settings = {**selected.uns["pearson_residuals_normalization"], "pearson_residuals_df": to_frame(selected)}
    shape: Any = (adata.n_vars, n_comps)  # as in scanpy, `n_comps` must be given
    loadings = np.zeros(shape)
    loadings[hvg["highly_variable"].to_numpy()] = selected.varm["PCs"]
    annotate(adata, hvg, None, batched=batch_key is not None)
    adata.uns["pca"] = selected.uns["pca"]
    adata.varm["PCs"] = loadings
    adata.uns["pearson_residuals_normalization"] = settings
    adata.obsm["X_pca"] = selected.obsm["X_pca"]
    return None


_OF_BATCHES = ["highly_variable_nbatches", "highly_variable_intersection"]


def plan_recipe_pearson_residuals(  # noqa: PLR0913
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    n_top_genes: int = 1000,
    batch_key: str | None = None,
    n_comps: int | None = 50,
    kwargs_pca: Mapping[str, Any] = MappingProxyType({}),
    check_values: bool = True,
    inplace: bool = True,
    **_: Any,
) -> Outline:
    """Plan :func:`recipe_pearson_residuals`: which genes are selected is not known yet, and changes no pass."""
    n_genes = min(n_top_genes, adata.n_vars)
    if inplace:
        require_frame(adata.n_obs, n_genes, "recipe_pearson_residuals")
    how: dict[str, Any] = {"theta": theta, "clip": clip, "check_values": check_values}
    ranking = plan_highly_variable_genes(adata, n_top_genes=n_top_genes, batch_key=batch_key, **how)
    some = adata[:, :n_genes].copy()
    if inplace:
        some.var["highly_variable"] = True
    x: OOMMatrix = some.X
    rest = plan_decomposition(some, x, theta, clip, n_comps, kwargs_pca, check_values=check_values, frame=inplace)
    return Outline([*ranking.steps, *rest.steps], rest.reason, ranking.results + rest.results)
