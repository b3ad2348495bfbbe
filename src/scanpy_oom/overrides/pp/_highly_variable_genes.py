"""Highly variable genes: :func:`scanpy.pp.highly_variable_genes`; flavors seurat and cell_ranger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg

from ... import _scanpy
from ...engine.compute import run
from ...engine.explain import plan
from ...engine.request import Request
from ...matrix.interop.anndata import become
from ...matrix.transforms import Elementwise
from ...messages import warn_user
from ...reductions import GroupMoments, Moments
from ._compat import get_obs_rep, one_value
from ._highly_variable_genes_seurat_v3 import FLAVORS, highly_variable_genes_seurat_v3

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...matrix import OOMMatrix

__all__ = ["highly_variable_genes"]


def highly_variable_genes(  # noqa: PLR0913
    adata: AnnData,
    *,
    layer: str | None = None,
    n_top_genes: int | None = None,
    min_disp: float = 0.5,
    max_disp: float = np.inf,
    min_mean: float = 0.0125,
    max_mean: float = 3,
    span: float = 0.3,
    n_bins: int = 20,
    flavor: str = "seurat",
    subset: bool = False,
    inplace: bool = True,
    batch_key: str | None = None,
    filter_unexpressed_genes: bool | None = None,
    check_values: bool = True,
) -> pd.DataFrame | None:
    """Annotate highly variable genes in one pass (seurat_v3: two), for any number of batches.

    See :func:`scanpy.pp.highly_variable_genes`.
    """
    if not isinstance(adata, AnnData):
        msg = (
            "`pp.highly_variable_genes` expects an `AnnData` argument, "
            "pass `inplace=False` if you want to return a `pd.DataFrame`."
        )
        raise ValueError(msg)
    start = logg.info("extracting highly variable genes")
    flavor = _scanpy.preset(flavor, "highly_variable_genes", "flavor")
    if flavor in FLAVORS:
        return highly_variable_genes_seurat_v3(
            adata,
            flavor=flavor,
            layer=layer,
            n_top_genes=n_top_genes,
            batch_key=batch_key,
            check_values=check_values,
            span=span,
            subset=subset,
            inplace=inplace,
        )
    if flavor not in {"seurat", "cell_ranger"}:
        msg = '`flavor` needs to be "seurat" or "cell_ranger"'
        raise ValueError(msg)
    cutoff = _scanpy.hvg_cutoffs.validate(
        n_top_genes=n_top_genes, min_disp=min_disp, max_disp=max_disp, min_mean=min_mean, max_mean=max_mean
    )
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    plan.results(x.shape[1] * (1 + 8 + 8 + 4 + (9 if batch_key else 0)))
    arguments = {"flavor": flavor, "n_bins": n_bins, "cutoff": cutoff}
    if batch_key:
        if filter_unexpressed_genes is False:
            ignored = f"but will ignored for batch-aware {flavor=!r} HVG computation"
            msg = f"filter_unexpressed_genes is set to False, {ignored}"
            warn_user(msg)
        df = _batched(adata, x, batch_key, **arguments)
    else:
        expressed = bool(filter_unexpressed_genes)
        moments = _moments(adata, x, np.zeros(x.shape[0], dtype=np.int64), 1, flavor, counted=expressed)
        df = _filtered(adata, moments, 0, only_expressed=expressed, **arguments)
    logg.info("    finished", time=start)
    if not inplace:
        return df.loc[df["highly_variable"]] if subset else df
    _annotate(adata, df, flavor, batched=batch_key is not None)
    if subset:
        become(adata, adata[:, df["highly_variable"]].copy())
    return None


def _annotate(adata: AnnData, df: pd.DataFrame, flavor: str, *, batched: bool) -> None:
    adata.uns["hvg"] = {"flavor": flavor}
    logg.hint(
        "added\n"
        "    'highly_variable', boolean vector (adata.var)\n"
        "    'means', float vector (adata.var)\n"
        "    'dispersions', float vector (adata.var)\n"
        "    'dispersions_norm', float vector (adata.var)"
    )
    adata.var["highly_variable"] = df["highly_variable"]
    adata.var["means"] = df["means"]
    adata.var["dispersions"] = df["dispersions"]
    adata.var["dispersions_norm"] = df["dispersions_norm"].astype(np.float32)
    if batched:
        adata.var["highly_variable_nbatches"] = df["highly_variable_nbatches"]
        adata.var["highly_variable_intersection"] = df["highly_variable_intersection"]


def _requests(
    adata: AnnData, x: OOMMatrix, codes: NDArray[np.integer], n_groups: int, flavor: str, *, counted: bool
) -> list[Request]:
    """Ask for moments by batch of what the flavor looks at, and for the statistics of X itself for `scale`."""
    seen = x
    if flavor == "seurat":
        base = adata.uns.get("log1p", {}).get("base")
        _check_in_place(x, base)
        if base is not None:
            seen = seen.transform(Elementwise("multiply", np.log(base), x.dtype))
        seen = seen.transform(Elementwise("expm1"))
    requests = [Request(seen, [GroupMoments(codes, n_groups, counted=counted)])]
    if x.statistics.get("col_sum", "col_sumsq") is None:
        requests.append(Request(x, [GroupMoments(np.zeros(x.shape[0], dtype=np.int64), 1, counted=False)]))
    return requests


def _check_in_place(x: OOMMatrix, base: float | None) -> None:
    """Fail as NumPy does where values of this dtype cannot become exponentials in place."""
    probe = one_value(x)
    if base is not None:
        probe *= np.log(base)
    if isinstance(probe, np.ndarray):
        np.expm1(probe, out=probe)
    else:
        np.expm1(probe)  # of some whole numbers in half precision, which SciPy does not hold


def _moments(
    adata: AnnData, x: OOMMatrix, codes: NDArray[np.integer], n_groups: int, flavor: str, *, counted: bool
) -> Moments:
    """Moments by batch of what the flavor looks at, in one pass."""
    results = run(_requests(adata, x, codes, n_groups, flavor, counted=counted))
    if len(results) == 2:
        x.statistics.known |= results[1][0].column_statistics(0)
    return results[0][0]


def _single_batch(
    names: pd.Index,
    mean: NDArray[np.float64],
    var: NDArray[np.float64],
    *,
    flavor: str,
    n_bins: int,
    cutoff: object,
) -> pd.DataFrame:
    """Compute normalised dispersions from the moments of one batch, as scanpy's function of this name."""
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = var / mean
    if flavor == "seurat":
        dispersion[dispersion == 0] = np.nan
        with np.errstate(invalid="ignore"):
            dispersion = np.log(dispersion)
        mean = np.log1p(mean)
    df = pd.DataFrame({"means": mean, "dispersions": dispersion})
    df["mean_bin"] = _scanpy.hvg_mean_bins(df["means"], flavor, n_bins)
    statistics = _scanpy.hvg_disp_stats(df, flavor)
    df["dispersions_norm"] = (df["dispersions"] - statistics["avg"]) / statistics["dev"]
    df["highly_variable"] = _scanpy.hvg_subset_genes(
        AnnData(shape=(0, names.size)),
        mean=mean,
        dispersion_norm=df["dispersions_norm"].to_numpy(),
        cutoff=cutoff,
    )
    df.index = names
    return df


def _batched(adata: AnnData, x: OOMMatrix, batch_key: str, **arguments: Any) -> pd.DataFrame:
    """Select within each batch and merge, as scanpy's `_highly_variable_genes_batched`."""
    _scanpy.sanitize_anndata(adata)
    batches = adata.obs[batch_key].cat.categories
    codes = adata.obs[batch_key].cat.codes.to_numpy()
    moments = _moments(adata, x, codes, len(batches), arguments["flavor"], counted=True)
    # genes that a batch does not express take no part in its binning
    frames = [_filtered(adata, moments, k, only_expressed=True, **arguments) for k in range(len(batches))]
    return _merge_batches(adata, pd.concat(frames, axis=0), len(batches), arguments["cutoff"])


def _filtered(adata: AnnData, moments: Moments, k: int, *, only_expressed: bool, **arguments: Any) -> pd.DataFrame:
    """Select within group `k`, without the genes that it does not express if so wished: these get zeros."""
    mean, var = (v[k] for v in moments.mean_var())
    expressed = moments.npos[k] >= 1 if only_expressed else np.ones(mean.size, dtype=bool)
    df = _single_batch(adata.var_names[expressed], mean[expressed], var[expressed], **arguments)
    if expressed.all():
        return df
    absent = pd.DataFrame(np.zeros(((~expressed).sum(), len(df.columns))), columns=df.columns)
    absent["highly_variable"] = absent["highly_variable"].astype(bool)
    absent.index = adata.var_names[~expressed]
    return pd.concat([df, absent]).loc[adata.var_names]


def _merge_batches(adata: AnnData, df: pd.DataFrame, n_batches: int, cutoff: Any) -> pd.DataFrame:
    df["highly_variable"] = df["highly_variable"].astype(int)
    df = df.groupby(df.index, observed=True).agg(
        {"means": "mean", "dispersions": "mean", "dispersions_norm": "mean", "highly_variable": "sum"}
    )
    df["highly_variable_nbatches"] = df["highly_variable"]
    df["highly_variable_intersection"] = df["highly_variable_nbatches"] == n_batches
    if isinstance(cutoff, int | np.integer):
        df = df.sort_values(["highly_variable_nbatches", "dispersions_norm"], ascending=False, na_position="last")
        df["highly_variable"] = np.arange(df.shape[0]) < cutoff
        return df.loc[adata.var_names]
    df["dispersions_norm"] = df["dispersions_norm"].fillna(0)  # similar to Seurat
    df["highly_variable"] = cutoff.in_bounds(df["means"], df["dispersions_norm"])
    return df
