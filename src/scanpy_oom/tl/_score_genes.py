"""Scores of sets of genes: :func:`scanpy.tl.score_genes`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg

from ..passes import ColumnMeans, MapRows, Request, run
from ..passes.outline import Outline, Step
from ..pp._compat import SCANPY_1_12, get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["plan_score_genes", "score_genes"]

# the module's name is also that of a function of the package
_scanpys: Any = importlib.import_module("scanpy.tools._score_genes")


def score_genes(  # noqa: PLR0913
    adata: AnnData,
    gene_list: Sequence[str] | pd.Index,
    *,
    ctrl_as_ref: bool = True,
    ctrl_size: int = 50,
    gene_pool: Sequence[str] | pd.Index | None = None,
    n_bins: int = 25,
    score_name: str = "score",
    random_state: Any = 0,
    copy: bool = False,
    use_raw: bool | None = None,
    layer: str | None = None,
) -> AnnData | None:
    """Score a set of genes, in one pass for means of all genes and one for the genes that are drawn.

    See :func:`scanpy.tl.score_genes`.
    """
    start = logg.info(f"computing score {score_name!r}")
    adata = adata.copy() if copy else adata
    x, use_raw = _matrix(adata, use_raw, layer)
    if random_state is not None:
        np.random.seed(random_state)
    names = adata.raw.var_names if use_raw else adata.var_names
    gene_list, gene_pool, _ = _scanpys._check_score_genes_args(
        adata, gene_list, gene_pool, use_raw=use_raw, layer=layer
    )
    means = _means(x, names.get_indexer(gene_pool))

    control_genes = pd.Index([], dtype="string")
    for drawn in _scanpys._score_genes_bins(
        gene_list,
        gene_pool,
        ctrl_as_ref=ctrl_as_ref,
        ctrl_size=ctrl_size,
        n_bins=n_bins,
        get_subset=lambda _: means[None, :],
    ):
        control_genes = control_genes.union(drawn)
    if len(control_genes) == 0:
        msg = "No control genes found in any cut."
        if ctrl_as_ref:
            msg += " Try setting `ctrl_as_ref=False`."
        raise RuntimeError(msg)

    found = run([_cell_means(x, names.get_indexer(genes)) for genes in (gene_list, control_genes)])
    (means_list,), (means_control,) = found
    adata.obs[score_name] = pd.Series(means_list - means_control, index=adata.obs_names, dtype="float64")
    logg.info(
        "    finished",
        time=start,
        deep=(
            "added\n"
            f"    {score_name!r}, score of gene set (adata.obs).\n"
            f"    {len(control_genes)} total control genes are used."
        ),
    )
    return adata if copy else None


def plan_score_genes(
    adata: AnnData,
    gene_list: Sequence[str] | pd.Index,
    *,
    gene_pool: Sequence[str] | pd.Index | None = None,
    use_raw: bool | None = None,
    layer: str | None = None,
    **_: Any,
) -> Outline:
    """Plan :func:`score_genes`; which genes are drawn is not known yet."""
    x, use_raw = _matrix(adata, use_raw, layer)
    names = adata.raw.var_names if use_raw else adata.var_names
    genes, pool, _ = _scanpys._check_score_genes_args(adata, gene_list, gene_pool, use_raw=use_raw, layer=layer)
    of_pool = x if len(pool) == x.shape[1] else x.select(None, names.get_indexer(pool))
    steps = [] if _known_means(of_pool) is not None else [Step([Request(of_pool, [ColumnMeans(_sum_dtype(of_pool))])])]
    return Outline([*steps, Step([_cell_means(x, names.get_indexer(genes))])], results=8 * x.shape[0])


def _matrix(adata: AnnData, use_raw: bool | None, layer: str | None) -> tuple[OOMMatrix, bool]:  # noqa: FBT001
    utils: Any = importlib.import_module("scanpy._utils")
    check = utils.check_use_raw if SCANPY_1_12 else utils._check_use_raw
    use_raw = check(adata, use_raw, layer=layer)
    return get_obs_rep(adata, use_raw=use_raw, layer=layer), use_raw


def _sum_dtype(x: OOMMatrix) -> np.dtype:
    """Return the dtype in which scanpy adds up values of genes, whose rounding decides which genes are drawn.

    That of the values where it has an array, and before 1.12 where it has rows; double otherwise.
    """
    single = x.is_dense or (not SCANPY_1_12 and x.format != "csc")
    return np.dtype(np.float32) if single and x.dtype == np.float32 else np.dtype(np.float64)


def _known_means(x: OOMMatrix) -> NDArray[np.float64] | None:
    """Return the means of genes, where they were found before, or follow from sums that are known and numbers."""
    known = x.statistics.known
    if "col_mean" in known:
        return known["col_mean"]
    if "col_sum" not in known or _sum_dtype(x) != np.float64 or not np.isfinite(known["col_sum"]).all():
        return None
    return known["col_sum"] / x.shape[0]


def _means(x: OOMMatrix, pool: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the mean of each gene of the pool, and keep those of all genes with `x`."""
    if pool.size != x.shape[1]:
        x = x.select(None, pool)
    means = _known_means(x)
    if means is None:
        means = run([Request(x, [ColumnMeans(_sum_dtype(x))])])[0][0]
        x.statistics.known["col_mean"] = means
    return means.astype(x.dtype) if x.is_dense and x.dtype.kind == "f" else means


def _cell_means(x: OOMMatrix, columns: NDArray[np.intp]) -> Request:
    """Ask for the mean of each cell over some columns, by scanpy's own function."""
    shown = x if columns.size == x.shape[1] else x.select(None, columns)
    return Request(shown, [MapRows(lambda rows: np.ravel(_scanpys._nan_means(rows, axis=1, dtype="float64")))])
