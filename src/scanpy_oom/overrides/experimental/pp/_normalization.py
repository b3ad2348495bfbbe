"""Pearson residuals: :mod:`scanpy.experimental.pp._normalization`."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg

from .... import _scanpy
from ...._scanpy import SCANPY_1_13, UNSET
from ....engine.budget import require
from ....engine.compute import run
from ....engine.explain import plan
from ....engine.request import Request
from ....matrix.transforms.pearson import PearsonResiduals
from ....messages import warn_user
from ....queries.answers import ENGINE
from ....reductions import AxisStatistics
from ....reductions.extrema import ExtremaReduction
from ...pp._compat import axis_sum_dtype, get_obs_rep, set_obs_rep
from ...pp._pca import pca
from ...pp._pca_arguments import column_mask, result_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...._scanpy import Seed
    from ....engine.reduction import Reduction
    from ....matrix import OOMMatrix
    from ....matrix.known_statistics import Statistics
    from ....reductions.extrema import Extrema

__all__ = [
    "decompose",
    "normalize_pearson_residuals",
    "normalize_pearson_residuals_pca",
    "pearson_residuals",
    "require_frame",
]

_SUMS = ("row_sum", "col_sum")


def normalize_pearson_residuals(
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    check_values: bool = True,
    layer: str | None = None,
    obsm: str | None = None,
    inplace: bool = True,
    copy: bool = False,
) -> AnnData | dict[str, object] | None:
    """Replace counts by their Pearson residuals, lazily.

    Sums are found in one pass, in none if they are known and values are not checked; residuals are computed where they
    are read, a block at a time. See :func:`scanpy.experimental.pp.normalize_pearson_residuals`.
    """
    if copy:
        if not inplace:
            msg = "`copy=True` cannot be used with `inplace=False`."
            raise ValueError(msg)
        adata = adata.copy()
    _scanpy.view_to_actual(adata)
    computed_on = layer or obsm or "adata.X"
    start = logg.info(f"computing analytic Pearson residuals on {computed_on}")
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    residuals = pearson_residuals(x, theta, clip, check_values=check_values)
    settings = {"theta": theta, "clip": clip, "computed_on": computed_on}
    if inplace:
        set_obs_rep(adata, residuals, layer=layer, obsm=obsm)
        adata.uns["pearson_residuals_normalization"] = settings
    logg.info("    finished ({time_passed})", time=start)
    if copy:
        return adata
    return None if inplace else {"X": residuals, **settings}


def _bound(x: OOMMatrix, theta: float, clip: float | None) -> float | np.floating:
    """Return the bound of the residuals, of scanpy's type."""
    if theta <= 0:
        msg = "Pearson residuals require theta > 0"
        raise ValueError(msg)
    clip = np.sqrt(x.shape[0]) if clip is None else clip
    if clip < 0:
        msg = "Pearson residuals require `clip>=0` or `clip=None`."
        raise ValueError(msg)
    return clip


def _reductions(x: OOMMatrix, *, check_values: bool) -> list[Reduction]:
    sums: list[Reduction] = [] if x.statistics.get(*_SUMS) else [AxisStatistics()]
    return [*sums, ExtremaReduction()] if check_values else sums


def pearson_residuals(x: OOMMatrix, theta: float, clip: float | None, *, check_values: bool) -> OOMMatrix:
    """Return the residuals of a matrix of counts."""
    bound = _bound(x, theta, clip)
    why = "residuals are computed when they are read"
    plan.reason(why, if_none=f"{why}; sums are known")
    reductions = _reductions(x, check_values=check_values)
    found = run([Request(x, reductions)], assume=plan.of_no_rows)[0] if reductions else []
    if check_values:
        extrema: Extrema = found.pop()
        if extrema.any_negative or not extrema.all_whole:
            msg = "`normalize_pearson_residuals()` expects raw count data, but non-integers were found."
            warn_user(msg)
    if found:
        statistics: Statistics = found[0]
        x.statistics.known |= statistics.known
    dtype = axis_sum_dtype(x)
    cells, genes = (x.statistics.known[name].astype(dtype) for name in _SUMS)
    step = PearsonResiduals(
        cells.astype(np.float64),
        genes.astype(np.float64),
        float(np.sum(genes)),
        float(theta),
        bound,
        single=bool(dtype == np.float32 and x.dtype == np.float32),
    )
    return x.transform(step)


def normalize_pearson_residuals_pca(  # noqa: PLR0913
    adata: AnnData,
    *,
    theta: float = 100,
    clip: float | None = None,
    n_comps: int | None = 50,
    random_state: Seed = 0,
    kwargs_pca: Mapping[str, object] = MappingProxyType({}),
    mask_var: object = UNSET,
    use_highly_variable: bool | None = None,
    check_values: bool = True,
    inplace: bool = True,
) -> AnnData | None:
    """Principal components of Pearson residuals.

    Of the residuals, scanpy leaves a data frame in `adata.uns`, which must fit ``settings.memory_limit``: it is refused
    beforehand if it does not. With `inplace=False` they are returned as a matrix that is computed where it is read. See
    :func:`scanpy.experimental.pp.normalize_pearson_residuals_pca`.
    """
    _, mask = column_mask(adata, mask_var, use_highly_variable, named_by_preset=False)
    selected = adata if mask is None else adata[:, mask]
    if inplace:
        require_frame(selected.n_obs, selected.n_vars, "normalize_pearson_residuals_pca")
    of_residuals = AnnData(selected.X, obs=selected.obs[[]], var=selected.var[[]])
    decompose(of_residuals, theta, clip, n_comps, random_state, kwargs_pca, check_values=check_values)
    if not inplace:
        return of_residuals
    settings = {**of_residuals.uns["pearson_residuals_normalization"], "pearson_residuals_df": to_frame(of_residuals)}
    in_obsm, in_varm, in_uns = keys_of_pca(kwargs_pca)
    components = of_residuals.varm[in_varm]
    if mask is not None:
        loadings = np.zeros((adata.n_vars, of_residuals.obsm[in_obsm].shape[1]))
        loadings[mask] = components
        components = loadings
    adata.varm[in_varm] = components
    adata.uns[in_uns] = of_residuals.uns[in_uns]
    adata.uns["pearson_residuals_normalization"] = settings
    adata.obsm[in_obsm] = of_residuals.obsm[in_obsm]
    return None


def require_frame(n_obs: int, n_vars: int, what: str) -> None:
    """Make sure that a data frame of residuals may be left in `adata.uns`."""
    advice = "It would be left in `adata.uns`: `inplace=False` returns residuals that are computed where they are read."
    require(8 * n_obs * n_vars, f"The data frame of {n_obs} × {n_vars} residuals of {what}", advice)


def keys_of_pca(kwargs_pca: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the keys of the principal components; scanpy before 1.13 passes over an argument that sets them."""
    return result_keys(kwargs_pca.get("key_added", UNSET)) if SCANPY_1_13 else result_keys(None)


def to_frame(adata: AnnData) -> pd.DataFrame:
    """Return all values of X."""
    plan.results(8 * adata.n_obs * adata.n_vars)
    values = ENGINE.collect(adata.X, dense=True, what="pearson_residuals_df")
    return pd.DataFrame(values, index=adata.obs_names, columns=adata.var_names)


def decompose(
    adata: AnnData,
    theta: float,
    clip: float | None,
    n_comps: int | None,
    random_state: Seed,
    kwargs_pca: Mapping[str, Any],
    *,
    check_values: bool,
) -> None:
    """Replace X by Pearson residuals, and add their principal components."""
    normalize_pearson_residuals(adata, theta=theta, clip=clip, check_values=check_values)
    plan.or_assume(partial(pca, adata, n_comps=n_comps, random_state=random_state, **kwargs_pca), lambda: None)
