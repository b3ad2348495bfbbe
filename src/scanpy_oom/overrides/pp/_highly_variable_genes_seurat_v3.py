"""Highly variable genes of counts: flavors seurat_v3 and seurat_v3_paper of :func:`scanpy.pp.highly_variable_genes`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12
from ...engine.compute import compute, run
from ...engine.explain import plan
from ...engine.request import Request
from ...matrix.interop.anndata import become
from ...messages import warn_user
from ...reductions import GroupClippedSums, GroupMoments, GroupWelford
from ...reductions.extrema import ExtremaReduction
from ._batches import Batches
from ._compat import get_obs_rep

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from ...engine.reduction import Reduction
    from ...matrix import OOMMatrix
    from ...reductions import Moments

__all__ = ["FLAVORS", "highly_variable_genes_seurat_v3"]

FLAVORS = frozenset({"seurat_v3", "seurat_v3_paper"})


def highly_variable_genes_seurat_v3(  # noqa: PLR0913
    adata: AnnData,
    *,
    flavor: str,
    layer: str | None,
    n_top_genes: int | None,
    batch_key: str | None,
    check_values: bool,
    span: float,
    subset: bool,
    inplace: bool,
) -> pd.DataFrame | None:
    """Annotate highly variable genes of counts, in two passes for any number of batches.

    The first is for means and variances by batch, to which scikit-misc's loess is fitted as scanpy fits it, the second
    for sums of counts cut at a bound. See :func:`scanpy.pp.highly_variable_genes`.
    """
    loess = _loess()
    if n_top_genes is None:
        n_top_genes = inspect.signature(_scanpy.hvg_seurat_v3).parameters["n_top_genes"].default
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    batches = Batches.of(adata, batch_key)
    df = pd.DataFrame(index=adata.var_names)
    plan.results(x.shape[1] * (1 + 4 * 8 + (8 if batch_key is not None else 0)))
    first = _first_pass(x, batches, check_values=check_values)
    if check_values and (first[-1].any_negative or not first[-1].all_whole):
        msg = f"`{flavor=!r}` expects raw count data, but non-integers were found."
        warn_user(msg)
    moments: Moments = first[0]
    if batches.n == 1:
        x.statistics.known |= moments.column_statistics(0)
    (df["means"],), (df["variances"],) = moments.sum_of_groups().mean_var()
    mean, var = _mean_var(first, batches)
    std = np.zeros_like(mean)
    if not plan.is_made():
        std = np.stack([_regularized_std(m, v, span, loess) for m, v in zip(mean, var, strict=True)])
    n = moments.n[:, None]
    highest = std * np.sqrt(n) + mean
    total, total_squared = compute(x, GroupClippedSums(batches.codes, highest))
    with np.errstate(divide="ignore", invalid="ignore"):  # a batch of one cell has no variance
        norm_gene_vars = (1 / ((n - 1) * np.square(std))) * (n * np.square(mean) + total_squared - 2 * total * mean)
    _rank(df, norm_gene_vars, flavor, n_top_genes)
    return _leave(adata, df, flavor, batched=batch_key is not None, subset=subset, inplace=inplace)


def _has_running_means(batches: Batches) -> bool:
    """Return whether scanpy has running means, one value after the other, of each batch."""
    return batches.given and SCANPY_1_12


def _first_pass(x: OOMMatrix, batches: Batches, *, check_values: bool) -> list[Any]:
    """Return moments, running means if scanpy has them, and what kind of numbers there are if that is asked for."""
    reductions: list[Reduction] = [GroupMoments(batches.codes, batches.n)]
    if _has_running_means(batches):
        reductions.append(GroupWelford(batches.codes, batches.n))
    if check_values:
        reductions.append(ExtremaReduction())
    return run([Request(x, reductions)], assume=plan.of_no_rows)[0]


def _mean_var(first: list[Any], batches: Batches) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and variances by batch, as the installed scanpy computes them."""
    if not _has_running_means(batches):
        return first[0].mean_var()
    found = first[1]
    divisor = np.where(found.n > 1, found.n - 1, np.nan)
    if np.isnan(divisor).any():
        alone = [name for name, n in zip(batches.names, found.n, strict=True) if n == 1]
        msg = f"Group counts matches dof, resulting var for groups {alone} will be nan"
        warn_user(msg, RuntimeWarning)
    return found.mean, found.var * (found.n / divisor)[:, None]


def _loess() -> type:
    try:
        from skmisc.loess import loess
    except ImportError as error:
        error.add_note("Please install `scikit-misc` and try again.")
        raise
    return loess


def _regularized_std(
    mean: NDArray[np.float64], var: NDArray[np.float64], span: float, loess: type
) -> NDArray[np.float64]:
    """Return the standard deviation that is expected at each mean, `(n_columns,)`."""
    expected = np.zeros(mean.size)
    with np.errstate(invalid="ignore"):
        not_const = var > 0
    if not_const.any() or not SCANPY_1_12:  # scanpy 1.11 fits, and fails, where all genes are constant
        model = loess(np.log10(mean[not_const]), np.log10(var[not_const]), span=span, degree=2)
        model.fit()
        expected[not_const] = model.outputs.fitted_values
    return np.sqrt(10**expected)


def _rank(df: pd.DataFrame, norm_gene_vars: NDArray[np.float64], flavor: str, n_top_genes: int) -> None:
    """Rank the genes in each batch, and mark those that come first in all of them together."""
    ranks = np.argsort(np.argsort(-norm_gene_vars, axis=1), axis=1).astype(np.float32)
    n_batches = np.sum((ranks < n_top_genes).astype(int), axis=0)
    ranks[ranks >= n_top_genes] = np.nan
    df["gene_name"] = df.index
    df["highly_variable_nbatches"] = n_batches
    df["highly_variable_rank"] = np.ma.median(np.ma.masked_invalid(ranks), axis=0).filled(np.nan)
    df["variances_norm"] = np.mean(norm_gene_vars, axis=0)
    by, ascending = ["highly_variable_rank", "highly_variable_nbatches"], [True, False]
    if flavor == "seurat_v3_paper":
        by, ascending = by[::-1], ascending[::-1]
    order = df[by].sort_values(by, ascending=ascending, na_position="last").index
    df["highly_variable"] = False
    df.loc[order[: int(n_top_genes)], "highly_variable"] = True


def _leave(
    adata: AnnData, df: pd.DataFrame, flavor: str, *, batched: bool, subset: bool, inplace: bool
) -> pd.DataFrame | None:
    """Annotate the genes, or return what was found."""
    if not inplace:
        df = df if batched else df.drop(["highly_variable_nbatches"], axis=1)
        return df.iloc[df["highly_variable"].to_numpy(), :] if subset else df
    adata.uns["hvg"] = {"flavor": flavor}
    logg.hint(
        "added\n"
        "    'highly_variable', boolean vector (adata.var)\n"
        "    'highly_variable_rank', float vector (adata.var)\n"
        "    'means', float vector (adata.var)\n"
        "    'variances', float vector (adata.var)\n"
        "    'variances_norm', float vector (adata.var)"
    )
    for name in ("highly_variable", "highly_variable_rank", "means", "variances"):
        adata.var[name] = df[name].to_numpy()
    adata.var["variances_norm"] = df["variances_norm"].to_numpy().astype("float64", copy=False)
    if batched:
        adata.var["highly_variable_nbatches"] = df["highly_variable_nbatches"].to_numpy()
    if subset:
        become(adata, adata[:, df["highly_variable"].to_numpy()].copy())
    return None
