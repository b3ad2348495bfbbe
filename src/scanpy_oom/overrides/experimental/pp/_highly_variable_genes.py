"""Highly variable genes by Pearson residuals: :func:`scanpy.experimental.pp.highly_variable_genes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg

from .... import _scanpy
from ....engine.compute import compute
from ....engine.explain import plan
from ....errors import UnsupportedOutOfMemory
from ....matrix.interop.anndata import become
from ....matrix.known_statistics import COLUMN_STATISTICS
from ....messages import warn_user
from ....queries.answers import ENGINE
from ....reductions import GroupMoments, Moments, PearsonModel, PearsonVariances, SetSums
from ....reductions.extrema import Extrema, ExtremaReduction
from ...pp._batches import Batches
from ...pp._compat import axis_sum_dtype, get_obs_rep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ....matrix import OOMMatrix

__all__ = ["annotate", "highly_variable_genes", "log_added", "rank_genes"]


def highly_variable_genes(  # noqa: PLR0913
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    n_top_genes: int | None = None,
    batch_key: str | None = None,
    chunksize: int = 1000,
    flavor: str = "pearson_residuals",
    check_values: bool = True,
    layer: str | None = None,
    subset: bool = False,
    inplace: bool = True,
) -> pd.DataFrame | None:
    """Annotate highly variable genes by the variance of their Pearson residuals, in two passes; one after QC.

    No residual of a zero is computed for itself. `chunksize` changes nothing, as in scanpy. See
    :func:`scanpy.experimental.pp.highly_variable_genes`.
    """
    logg.info("extracting highly variable genes")
    _check(adata, flavor, n_top_genes)
    assert n_top_genes is not None
    _scanpy.view_to_actual(adata)
    df = rank_genes(
        adata,
        theta=theta,
        clip=clip,
        n_top_genes=n_top_genes,
        batch_key=batch_key,
        check_values=check_values,
        layer=layer,
    )
    if not inplace:
        if batch_key is None:
            df = df.drop(["highly_variable_nbatches", "highly_variable_intersection"], axis=1)
        return df.iloc[df["highly_variable"].to_numpy(), :] if subset else df
    log_added()
    annotate(adata, df, layer, batched=batch_key is not None)
    if subset:
        become(adata, adata[:, df["highly_variable"].to_numpy()].copy())
    return None


def _check(adata: object, flavor: str, n_top_genes: int | None) -> None:
    if not isinstance(adata, AnnData):
        msg = (
            "`pp.highly_variable_genes` expects an `AnnData` argument, "
            "pass `inplace=False` if you want to return a `pd.DataFrame`."
        )
        raise ValueError(msg)
    if flavor != "pearson_residuals":
        msg = "This is an experimental API and only `flavor=pearson_residuals` is available."
        raise ValueError(msg)
    if n_top_genes is None:
        msg = "`pp.highly_variable_genes` requires the argument `n_top_genes` for `flavor='pearson_residuals'`"
        raise ValueError(msg)


def rank_genes(
    adata: AnnData,
    *,
    theta: float,
    clip: float | None,
    n_top_genes: int,
    batch_key: str | None,
    check_values: bool,
    layer: str | None = None,
) -> pd.DataFrame:
    """Return what scanpy finds of each gene, in the order of `adata`; change nothing."""
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    if theta <= 0:
        msg = "Pearson residuals require theta > 0"
        raise ValueError(msg)
    batches = Batches.of(adata, batch_key)
    if not adata.n_obs:
        msg = "need at least one array to concatenate"  # NumPy's, which scanpy gives for want of batches
        raise ValueError(msg)
    bound = _clip(clip, batches)
    plan.results(x.shape[1] * (1 + 4 * 8 + (9 if batch_key is not None else 0)))
    moments, cell_totals = _moments(x, batches)
    model = _model(x, batches, moments, cell_totals, theta=float(theta), clip=bound)
    variances, extrema = compute(x, PearsonVariances(model), ExtremaReduction())
    _check_values(x, extrema, warn=check_values)
    return _ranked(adata, moments, variances, n_top_genes)


def _clip(clip: float | None, batches: Batches) -> float:
    """Return the bound: by default that of the first batch, which scanpy keeps for all."""
    if clip is None:
        clip = np.sqrt(np.count_nonzero(batches.codes == 0))
    if clip < 0:
        msg = "Pearson residuals require `clip>=0` or `clip=None`."
        raise ValueError(msg)
    return float(clip)


_NEEDED = ("row_sum", *COLUMN_STATISTICS)


def _moments(x: OOMMatrix, batches: Batches) -> tuple[Moments, NDArray[np.float64]]:
    """Return moments of the genes by batch, and totals of the cells; of one batch they are kept with the matrix."""
    if batches.n == 1:
        plan.reason("" if x.statistics.get(*_NEEDED) is None else "sums of cells and genes are known")
        known = ENGINE.statistics(x, *_NEEDED).known
        row_sum, *of_columns = (known[name] for name in _NEEDED)
        return Moments(np.array([x.shape[0]]), *(values[None] for values in of_columns)), row_sum
    wanted = GroupMoments(batches.codes, batches.n), SetSums(np.ones((x.shape[1], 1), dtype=bool))
    moments, totals = compute(x, *wanted, assume=plan.of_no_rows)
    return moments, totals[:, 0]


def _model(
    x: OOMMatrix, batches: Batches, moments: Moments, cell_totals: NDArray[np.float64], *, theta: float, clip: float
) -> PearsonModel:
    """Return the model, its sums rounded as scanpy's are: in the dtype of sums of a sparse matrix."""
    dtype = np.dtype(np.float64) if x.is_dense else axis_sum_dtype(x)
    sums = moments.total.astype(dtype)
    grand = np.array([np.float64(np.sum(of_batch[of_batch != 0])) for of_batch in sums])
    cells = cell_totals.astype(dtype).astype(np.float64)
    return PearsonModel(
        batches.codes, cells, sums.astype(np.float64), grand, theta, clip, single=bool(dtype == np.float32)
    )


def _check_values(x: OOMMatrix, extrema: Extrema, *, warn: bool) -> None:
    if not x.is_dense and np.isnan(extrema.minimum):
        reason = "NaN is no count, and of a sparse matrix scanpy takes what follows it for zeros"
        raise UnsupportedOutOfMemory(reason)
    if extrema.any_negative:
        reason = "values below zero are no counts: sums over cells and genes, of which residuals follow, may be zero"
        raise UnsupportedOutOfMemory(reason)
    if warn and (extrema.any_negative or not extrema.all_whole):
        msg = "`flavor='pearson_residuals'` expects raw count data, but non-integers were found."
        warn_user(msg)


def _ranked(adata: AnnData, moments: Moments, variances: NDArray[np.float64], n_top_genes: int) -> pd.DataFrame:
    """Rank the genes in each batch, and mark those that come first in most of them."""
    ranks = np.argsort(np.argsort(-variances, axis=1), axis=1).astype(np.float32)
    n_batches = np.sum((ranks < n_top_genes).astype(int), axis=0)
    ranks[ranks >= n_top_genes] = np.nan
    (means,), (of_all,) = moments.sum_of_groups().mean_var()
    df = pd.DataFrame(
        {
            "means": means,
            "variances": of_all,
            "residual_variances": np.mean(variances, axis=0),
            "highly_variable_rank": np.ma.median(np.ma.masked_invalid(ranks), axis=0).filled(np.nan),
            "highly_variable_nbatches": n_batches.astype(np.int64),
            "highly_variable_intersection": n_batches == variances.shape[0],
        }
    ).set_index(adata.var_names)
    by = ["highly_variable_nbatches", "highly_variable_rank"]
    df = df.sort_values(by, ascending=[False, True], na_position="last")
    df["highly_variable"] = np.arange(df.shape[0]) < n_top_genes
    return df.loc[adata.var_names, :]


def annotate(adata: AnnData, df: pd.DataFrame, layer: str | None, *, batched: bool) -> None:
    """Leave with `adata` what :func:`rank_genes` found."""
    adata.uns["hvg"] = {"flavor": "pearson_residuals", "computed_on": layer or "adata.X"}
    names = ["means", "variances", "residual_variances", "highly_variable_rank"]
    if batched:
        names += ["highly_variable_nbatches", "highly_variable_intersection"]
    for name in [*names, "highly_variable"]:
        adata.var[name] = df[name].to_numpy()


def log_added() -> None:
    """Say what :func:`annotate` adds, as scanpy does."""
    logg.hint(
        "added\n"
        "    'highly_variable', boolean vector (adata.var)\n"
        "    'highly_variable_rank', float vector (adata.var)\n"
        "    'highly_variable_nbatches', int vector (adata.var)\n"
        "    'highly_variable_intersection', boolean vector (adata.var)\n"
        "    'means', float vector (adata.var)\n"
        "    'variances', float vector (adata.var)\n"
        "    'residual_variances', float vector (adata.var)"
    )
