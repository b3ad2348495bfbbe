"""Normalisation of cells: :func:`scanpy.pp.normalize_total`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...matrix.transforms import ByRow, Cast, NormalizeTotal, RowTotals
from ...messages import warn_user
from ...queries.answers import ENGINE
from ...reductions import HighlyExpressed, SetSums
from ._compat import get_obs_rep, put_back

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from ...matrix import OOMMatrix

__all__ = ["normalize_total", "percentages"]


def normalize_total(  # noqa: PLR0913
    adata: AnnData,
    *,
    target_sum: float | None = None,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    key_added: str | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    inplace: bool = True,
    copy: bool = False,
) -> AnnData | dict[str, object] | None:
    """Normalize counts per cell, lazily.

    Nothing is read where `target_sum` is given and the factors are not asked for: the next pass finds them, and
    gives scanpy's warning if there are cells without counts. See :func:`scanpy.pp.normalize_total`.
    """
    if copy and not inplace:
        msg = "`copy=True` cannot be used with `inplace=False`."
        raise ValueError(msg)
    if max_fraction < 0 or max_fraction > 1:
        msg = "Choose max_fraction between 0 and 1."
        raise ValueError(msg)
    if copy:
        adata = adata.copy()
    _scanpy.view_to_actual(adata)
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    counts = _as_counts(x)
    start = logg.info("normalizing counts per cell")

    factors_wanted = key_added is not None or not inplace
    _say_why(counts, target_sum, factors_wanted=factors_wanted, excludes=exclude_highly_expressed)
    excluded = _highly_expressed(counts, max_fraction) if exclude_highly_expressed else None
    normalized, factors = _normalize(counts, target_sum, excluded, factors_wanted=factors_wanted)
    if excluded is not None:
        logg.info(
            "The following highly-expressed genes are not considered during normalization factor computation:\n"
            f"{adata.var_names[excluded].tolist()}"
        )
    if factors is not None and not (factors > 0).all():
        warn_user("Some cells have zero counts")
    in_place = counts.dtype == x.dtype and x.format_in_memory != "csc"
    if inplace:
        if key_added is not None:
            adata.obs[key_added] = factors
        put_back(adata, x, normalized, in_place=in_place, layer=layer, obsm=obsm)
    logg.info("    finished ({time_passed})", time=start)
    if key_added is not None:
        logg.debug(f"and added {key_added!r}, counts per cell before normalization (adata.obs)")
    if copy:
        return adata
    if inplace:
        return None
    if in_place:  # which scanpy does to a copy
        kept = x.copy()
        kept.become(normalized)
        normalized = kept
    return {"X": normalized, "norm_factor": factors}


def percentages(adata: AnnData, layer: str | None) -> tuple[OOMMatrix, OOMMatrix]:
    """Return counts, and how many per cent of the counts of their cell they are; lazily."""
    x = _counts(adata, layer, None)
    return get_obs_rep(adata, layer=layer), _normalize(x, 100, None, factors_wanted=False)[0]


def _counts(adata: AnnData, layer: str | None, obsm: str | None) -> OOMMatrix:
    """Return what is to be normalised, as floating-point numbers."""
    return _as_counts(get_obs_rep(adata, layer=layer, obsm=obsm))


def _as_counts(x: OOMMatrix) -> OOMMatrix:
    if x.dtype == bool:
        reason = "booleans are no counts, and scanpy treats sparse and dense ones differently"
        raise UnsupportedOutOfMemory(reason)
    return x.transform(Cast(np.dtype(np.float32))) if x.dtype.kind in "iu" else x


def _say_why(x: OOMMatrix, target_sum: float | None, *, factors_wanted: bool, excludes: bool) -> None:
    """Tell a plan why it takes its passes, and what factors take."""
    if not _needs_totals(x, target_sum, factors_wanted=factors_wanted):
        plan.reason("each row's total is found by the next pass")
    elif excludes:
        plan.reason("the second pass is left out if no gene is highly expressed and totals are known")
    else:
        plan.reason("", if_none="row totals are known")
    plan.results(8 * x.shape[0] if factors_wanted else 0)


def _highly_expressed(x: OOMMatrix, max_fraction: float) -> NDArray[np.bool_]:
    """Return which columns hold more than `max_fraction` of the total of some row; in a plan, the first."""
    return compute(x, HighlyExpressed(max_fraction), assume=lambda _: [[np.arange(x.shape[1]) == 0]])


def _is_stored(x: OOMMatrix) -> bool:
    """Return whether `x` is what is stored: only its totals can be left to the next pass."""
    return all(isinstance(t, Cast) for t in x.chain.transforms) and not x.selection.repeats_columns


def _needs_totals(x: OOMMatrix, target_sum: float | None, *, factors_wanted: bool) -> bool:
    """Return whether totals must be known at once."""
    return target_sum is None or factors_wanted or not _is_stored(x)


def _normalize(
    x: OOMMatrix, target_sum: float | None, excluded: NDArray[np.bool_] | None, *, factors_wanted: bool
) -> tuple[OOMMatrix, NDArray[np.floating] | None]:
    """Return the normalised matrix and, where they are known, the factors."""
    totals = _known_totals(x, excluded)
    if totals is None and _needs_totals(x, target_sum, factors_wanted=factors_wanted):
        totals = _find_totals(x, excluded)
    if target_sum is None:
        assert totals is not None
        target_sum = _median(totals.astype(x.dtype), dense=x.is_dense)
    if totals is not None and not _is_stored(x):
        factors = totals.astype(x.dtype) / x.dtype.type(target_sum)
        x = x if x.is_dense else x.tocsr()
        return x.transform(ByRow("divide", factors + (factors == 0), x.dtype)), factors
    step = NormalizeTotal(_row_totals(x, totals, excluded), float(target_sum))
    rows = slice(None) if x.selection.rows is None else x.selection.rows
    return x.transform(step), None if totals is None else step.factors(rows, x.dtype)


def _known_totals(x: OOMMatrix, excluded: NDArray[np.bool_] | None) -> NDArray[np.float64] | None:
    if excluded is not None and excluded.any():
        return None
    return x.statistics.known.get("row_sum")


def _find_totals(x: OOMMatrix, excluded: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    if excluded is not None and excluded.any():
        return compute(x, SetSums(~excluded[:, None]), assume=plan.of_no_rows)[:, 0]
    return ENGINE.statistics(x, "row_sum").known["row_sum"]


def _row_totals(x: OOMMatrix, totals: NDArray[np.float64] | None, excluded: NDArray[np.bool_] | None) -> RowTotals:
    """Return totals by row of the source, unknown where no pass has found them."""
    n_rows, n_columns = x.selection.source_shape
    values = np.full(n_rows, np.nan)
    if totals is not None:
        values[slice(None) if x.selection.rows is None else x.selection.rows] = totals
    kept = np.arange(n_columns) if x.selection.columns is None else x.selection.columns
    if excluded is not None:
        kept = kept[~excluded]
    if kept.size == n_columns:
        return RowTotals(values, np.empty(0, dtype=bool), zero_rows_reported=totals is not None)
    counted = np.zeros(n_columns, dtype=bool)
    counted[kept] = True
    return RowTotals(values, counted, zero_rows_reported=totals is not None)


def _median(counts: NDArray[np.floating], *, dense: bool) -> float:
    # scanpy 1.11 takes cells without counts in for CSR matrices, and only for these
    return float(np.median(counts[counts > 0] if SCANPY_1_12 or dense else counts))
