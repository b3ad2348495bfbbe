"""Scores of sets of genes: :func:`scanpy.tl.score_genes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13, UNSET
from ...engine.compute import compute, run
from ...engine.explain import plan
from ...engine.request import Request
from ...reductions import ColumnMeans, MapRows
from ..pp._compat import get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from ..._scanpy import RNG
    from ...matrix import OOMMatrix

__all__ = ["score_genes"]


def score_genes(  # noqa: PLR0913
    adata: AnnData,
    gene_list: Sequence[str] | pd.Index,
    *,
    ctrl_as_ref: bool = UNSET,
    ctrl_size: int = 50,
    gene_pool: Sequence[str] | pd.Index | None = None,
    n_bins: int = 25,
    score_name: str = "score",
    random_state: int | None = 0,
    rng: RNG = None,
    copy: bool = False,
    use_raw: bool | None = None,
    layer: str | None = None,
) -> AnnData | None:
    """Score a set of genes, in one pass for means of all genes and one for the genes that are drawn.

    See :func:`scanpy.tl.score_genes`.
    """
    start = logg.info(f"computing score {score_name!r}")
    adata = adata.copy() if copy else adata
    use_raw = _check_use_raw(adata, use_raw, layer)
    ctrl_as_ref = _scanpy.preset(ctrl_as_ref, "score_genes", "ctrl_as_ref", otherwise=True)
    draws = {} if plan.is_made() else _draws(random_state, rng)
    names = adata.raw.var_names if use_raw else adata.var_names
    gene_list, gene_pool, _ = _scanpy.check_score_genes_args(adata, gene_list, gene_pool, use_raw=use_raw, layer=layer)
    x: OOMMatrix = get_obs_rep(adata, use_raw=use_raw, layer=layer)
    means = _means(x, _columns(names, gene_pool))

    plan.results(8 * x.shape[0])
    how = {"ctrl_as_ref": ctrl_as_ref, "ctrl_size": ctrl_size, "n_bins": n_bins, **draws}
    control_genes = gene_list[:0] if plan.is_made() else _control_genes(gene_list, gene_pool, means, **how)
    found = run([_cell_means(x, _columns(names, genes)) for genes in (gene_list, control_genes) if len(genes)])
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


def _draws(random_state: int | None, rng: RNG) -> dict[str, np.random.Generator]:
    """Seed NumPy's global generator where scanpy does, and return what scanpy is to draw with."""
    if SCANPY_1_13:
        return {"rng": _scanpy.draws_of_numpy(np.random.default_rng(rng))}
    if random_state is not None:
        np.random.seed(random_state)
    return {}


def _control_genes(gene_list: object, gene_pool: object, means: NDArray[np.float64], **how: object) -> pd.Index:
    """Draw genes whose means are like those of the list, as scanpy draws them."""
    control_genes = pd.Index([], dtype="string")
    for drawn in _scanpy.score_genes_bins(gene_list, gene_pool, get_subset=lambda _: means[None, :], **how):
        control_genes = control_genes.union(drawn)
    if len(control_genes) == 0:
        msg = "No control genes found in any cut."
        if how["ctrl_as_ref"]:
            msg += " Try setting `ctrl_as_ref=False`."
        raise RuntimeError(msg)
    return control_genes


def _check_use_raw(adata: AnnData, use_raw: bool | None, layer: str | None) -> bool:  # noqa: FBT001
    return bool(_scanpy.check_use_raw(adata, use_raw, layer=layer))


def _columns(names: pd.Index, genes: Any) -> NDArray[np.intp] | None:
    """Return the columns of some genes; None for all, whose names need not be unique then, as in scanpy."""
    return None if len(genes) == len(names) else names.get_indexer(genes)


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


def _means(x: OOMMatrix, pool: NDArray[np.intp] | None) -> NDArray[np.float64]:
    """Return the mean of each gene of the pool, and keep those of all genes with `x`."""
    x = x.select(None, pool)
    means = _known_means(x)
    if means is None:
        means = compute(x, ColumnMeans(_sum_dtype(x)), assume=plan.of_no_rows)
        x.statistics.known["col_mean"] = means
    return means.astype(x.dtype) if x.is_dense and x.dtype.kind == "f" else means


def _cell_means(x: OOMMatrix, columns: NDArray[np.intp] | None) -> Request:
    """Ask for the mean of each cell over some columns, by scanpy's own function."""
    return Request(
        x.select(None, columns), [MapRows(lambda rows: np.ravel(_scanpy.nan_means(rows, axis=1, dtype="float64")))]
    )
