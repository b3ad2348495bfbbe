"""The genes that make up most of the counts: :func:`scanpy.pl.highest_expr_genes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from scanpy import logging as logg

from ... import _scanpy
from ...engine.compute import run
from ...engine.explain import plan
from ...engine.request import Request
from ...queries.answers import ENGINE
from ...reductions import AxisStatistics, CollectSparse
from ..pp._normalization import percentages

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from scipy import sparse

    from ...matrix import OOMMatrix

__all__ = ["highest_expr_genes"]

_LIKELY = 4
"""How many times as many genes as are asked for are kept while their means are not known yet."""


def highest_expr_genes(
    adata: AnnData,
    n_top: int = 30,
    *,
    layer: str | None = None,
    gene_symbols: str | None = None,
    log: bool = False,
    show: bool | None = None,
    save: str | bool | None = None,
    ax: Axes | None = None,
    **kwds: object,
) -> Axes | None:
    """Plot the genes with the highest fractions of counts, in one pass where sums of genes are known, else in two.

    See :func:`scanpy.pl.highest_expr_genes`.
    """
    _scanpy.view_to_actual(adata)
    start = logg.info("normalizing counts per cell")
    x, likely = _likely(adata, layer, n_top)
    plan.results(4 * x.shape[0] * min(n_top, x.shape[1]))
    top, values = _highest(x, likely, n_top)
    logg.info("    finished ({time_passed})", time=start)
    names = adata.var_names if gene_symbols is None else adata.var[gene_symbols]
    columns = names[top] if gene_symbols is None else names.iloc[top].astype("string")
    table = pd.DataFrame(values, index=adata.obs_names, columns=columns)

    import matplotlib.pyplot as plt
    import seaborn as sns

    if not ax:
        _, ax = plt.subplots(figsize=(5, n_top * 0.2 + 1.5))
    sns.boxplot(data=table, orient="h", ax=ax, fliersize=1, **kwds)
    ax.set_xlabel("% of total counts")
    if log:
        ax.set_xscale("log")
    show = sc.settings.autoshow if show is None else show
    _scanpy.savefig_or_show("highest_expr_genes", show=show, save=save)
    return None if show else ax


def _likely(adata: AnnData, layer: str | None, n_top: int) -> tuple[OOMMatrix, NDArray[np.intp] | None]:
    """Return percentages of counts, lazily, and the genes with most counts, ascending, where these are known."""
    counts, x = percentages(adata, layer)
    sums = counts.statistics.known.get("col_sum")
    if sums is None or x.is_dense:
        return x, None
    return x, np.sort(np.argsort(sums)[::-1][: _LIKELY * n_top])


def _highest(x: OOMMatrix, likely: NDArray[np.intp] | None, n_top: int) -> tuple[NDArray[np.intp], np.ndarray]:
    """Return the genes with the highest means, and their values."""
    kept: sparse.csr_matrix | None = None
    if likely is not None and "col_sum" not in x.statistics.known:
        plan.reason("the likely genes are kept on the way")
        wanted = Request(x, [AxisStatistics()]), Request(x.select(None, likely), [CollectSparse("highest_expr_genes")])
        (found,), (kept,) = run(wanted)
        x.statistics.known |= found.known
    means = ENGINE.statistics(x, "col_sum").known["col_sum"] / x.shape[0]
    top = np.argsort(means.astype(x.dtype) if x.is_dense else means)[::-1][:n_top]
    if plan.is_made():
        top = np.arange(top.size)
    if kept is not None and likely is not None and np.isin(top, likely).all():
        return top, kept[:, np.searchsorted(likely, top)].toarray()
    return top, ENGINE.collect(x.select(None, top), dense=True, what="highest_expr_genes")
