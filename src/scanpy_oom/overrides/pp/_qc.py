"""Quality control metrics: :func:`scanpy.pp.calculate_qc_metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..._scanpy import SCANPY_1_12
from ...engine.compute import run
from ...engine.explain import plan
from ...engine.request import Request
from ...errors import UnsupportedOutOfMemory
from ...messages import warn_user
from ...reductions import AxisStatistics, SetSums, TopSums
from ._compat import axis_sum_dtype, get_obs_rep, mean_dtype, nnz_dtype

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray

    from ...engine.reduction import Reduction
    from ...matrix import OOMMatrix

__all__ = ["calculate_qc_metrics"]

_NEEDED = ("row_sum", "row_nnz", "col_sum", "col_nnz")


def calculate_qc_metrics(  # noqa: PLR0913
    adata: AnnData,
    *,
    expr_type: str = "counts",
    var_type: str = "genes",
    qc_vars: Collection[str] | str = (),
    percent_top: Collection[int] | None = (50, 100, 200, 500),
    layer: str | None = None,
    use_raw: bool = False,
    inplace: bool = False,
    log1p: bool = True,
    parallel: bool | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Calculate quality control metrics in one pass, for any number of `qc_vars` and `percent_top`.

    See :func:`scanpy.pp.calculate_qc_metrics`.
    """
    if parallel is not None:
        msg = "Argument `parallel` is deprecated, and currently has no effect."
        warn_user(msg, FutureWarning)
    x, qc_vars, tops = _inputs(adata, qc_vars, percent_top, layer=layer, use_raw=use_raw)
    wanted = _wanted(adata, x, qc_vars, tops)
    n_obs_columns, n_var_columns = (2 + len(qc_vars)) * (1 + log1p) + len(qc_vars) + len(tops), 3 * (1 + log1p)
    plan.results(8 * (x.shape[0] * n_obs_columns + x.shape[1] * n_var_columns))
    plan.reason("", if_none="statistics of rows and columns are known")
    top_sums, set_sums = _pass(x, wanted)
    plan.end()
    obs = _obs_metrics(adata, x, qc_vars, set_sums, tops, top_sums, expr_type=expr_type, var_type=var_type, log1p=log1p)
    var = _var_metrics(adata, x, expr_type=expr_type, log1p=log1p)
    if not adata.is_view:
        _store_no_zeros(x)
    if not inplace:
        return obs, var
    adata.obs[obs.columns] = obs
    adata.var[var.columns] = var
    return None


def _store_no_zeros(x: OOMMatrix) -> None:
    """Have the matrix store no zeros from now on, as scanpy does."""
    if not x.is_dense and x.chain.fill_values is None and x.transposed_of is None:
        x.eliminate_zeros()


def _inputs(
    adata: AnnData,
    qc_vars: Collection[str] | str,
    percent_top: Collection[int] | None,
    *,
    layer: str | None,
    use_raw: bool,
) -> tuple[OOMMatrix, list[str], list[int]]:
    """Return the matrix, the names of sets of columns, and the numbers of largest values."""
    if not SCANPY_1_12 and use_raw and layer is not None:
        msg = f"Cannot use expression from both layer and raw. You provided:{use_raw=!r} and {layer=!r}"
        raise ValueError(msg)
    x: OOMMatrix = get_obs_rep(adata, use_raw=use_raw, layer=layer)
    tops = sorted(percent_top) if percent_top else []
    if tops and not (tops[-1] <= x.shape[1] and tops[0] > 0):
        msg = "Positions outside range of features."
        raise IndexError(msg)
    return x, [qc_vars] if isinstance(qc_vars, str) else list(qc_vars), tops


def _column_mask(adata: AnnData, qc_var: str) -> NDArray[np.bool_]:
    """Return the columns that a set names.

    Raises
    ------
    UnsupportedOutOfMemory
        If it is no mask: scanpy takes whole numbers for positions, and refuses what else there is.
    """
    values = adata.var[qc_var].to_numpy()
    if values.dtype != bool:
        reason = f"`adata.var[{qc_var!r}]` holds {values.dtype} and not booleans"
        raise UnsupportedOutOfMemory(reason)
    return values


def _wanted(adata: AnnData, x: OOMMatrix, qc_vars: list[str], tops: list[int]) -> dict[str, Reduction]:
    """Return what is not known yet: statistics of `x`, sums of top values, sums over sets of columns."""
    member = np.zeros((x.shape[1], len(qc_vars)), dtype=bool)
    for k, qc_var in enumerate(qc_vars):
        member[:, k] = _column_mask(adata, qc_var)
    wanted: dict[str, Reduction] = {}
    if x.statistics.get(*_NEEDED) is None:
        wanted["statistics"] = AxisStatistics()
    if tops:
        wanted["tops"] = TopSums(np.array(tops, dtype=np.int64), stored_first=not x.is_dense)
    if qc_vars:
        wanted["sets"] = SetSums(member)
    return wanted


def _pass(x: OOMMatrix, wanted: dict[str, Reduction]) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Compute what is wanted, and keep the statistics with `x`."""
    results = dict(zip(wanted, run([Request(x, list(wanted.values()))])[0], strict=True)) if wanted else {}
    if "statistics" in results:
        x.statistics.known |= results["statistics"].known
    return results.get("tops"), results.get("sets")


def _obs_metrics(  # noqa: PLR0913
    adata: AnnData,
    x: OOMMatrix,
    qc_vars: list[str],
    set_sums: NDArray[np.float64] | None,
    tops: list[int],
    top_sums: NDArray[np.float64] | None,
    *,
    expr_type: str,
    var_type: str,
    log1p: bool,
) -> pd.DataFrame:
    row_sum, row_nnz = x.statistics.known["row_sum"], x.statistics.known["row_nnz"]
    dtype = axis_sum_dtype(x)
    total = f"total_{expr_type}"
    n_genes = f"n_{var_type}_by_{expr_type}"
    obs = pd.DataFrame(index=adata.obs_names)
    obs[n_genes] = row_nnz.astype(nnz_dtype(x, axis=1))
    if log1p:
        obs[f"log1p_{n_genes}"] = np.log1p(obs[n_genes])
    obs[total] = row_sum.astype(dtype)
    if log1p:
        obs[f"log1p_{total}"] = np.log1p(obs[total])
    if top_sums is not None:
        with np.errstate(invalid="ignore", divide="ignore"):  # a cell without counts has no proportions
            proportions = top_sums / row_sum[:, None]
        for k, n in enumerate(tops):
            obs[f"pct_{expr_type}_in_top_{n}_{var_type}"] = proportions[:, k] * 100
    for k, qc_var in enumerate(qc_vars):
        assert set_sums is not None
        obs[f"{total}_{qc_var}"] = set_sums[:, k].astype(dtype)
        if log1p:
            obs[f"log1p_{total}_{qc_var}"] = np.log1p(obs[f"{total}_{qc_var}"])
        obs[f"pct_{expr_type}_{qc_var}"] = obs[f"{total}_{qc_var}"] / obs[total] * 100
    return obs


def _var_metrics(adata: AnnData, x: OOMMatrix, *, expr_type: str, log1p: bool) -> pd.DataFrame:
    col_sum, col_nnz = x.statistics.known["col_sum"], x.statistics.known["col_nnz"]
    n_cells, mean, total = f"n_cells_by_{expr_type}", f"mean_{expr_type}", f"total_{expr_type}"
    var = pd.DataFrame(index=adata.var_names)
    var[n_cells] = col_nnz.astype(nnz_dtype(x, axis=0))
    var[mean] = (col_sum / x.shape[0]).astype(mean_dtype(x))
    if log1p:
        var[f"log1p_{mean}"] = np.log1p(var[mean])
    var[f"pct_dropout_by_{expr_type}"] = (1 - var[n_cells] / x.shape[0]) * 100
    var[total] = col_sum.astype(axis_sum_dtype(x))
    if log1p:
        var[f"log1p_{total}"] = np.log1p(var[total])
    return var
