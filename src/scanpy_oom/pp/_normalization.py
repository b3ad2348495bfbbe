"""Normalisation of cells: :func:`scanpy.pp.normalize_total`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy import logging as logg
from scanpy._utils import view_to_actual

from ..errors import UnsupportedOutOfMemory
from ..matrix.transforms import ByRow, Cast, NormalizeTotal, RowTotals
from ..passes import ENGINE, HighlyExpressed, Request, SetSums, outline, run
from ..passes.outline import Outline, Step
from ._compat import SCANPY_1_12, get_obs_rep, set_obs_rep

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["normalize_total", "percentages", "plan_normalize_total"]


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
) -> AnnData | dict[str, Any] | None:
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
    view_to_actual(adata)
    x = _counts(adata, layer, obsm)
    _check_target(x, target_sum)
    start = logg.info("normalizing counts per cell")

    excluded = run(_highly_expressed(x, max_fraction))[0][0] if exclude_highly_expressed else None
    factors_wanted = key_added is not None or not inplace
    normalized, factors = _normalize(x, target_sum, excluded, factors_wanted=factors_wanted)
    if excluded is not None:
        logg.info(
            "The following highly-expressed genes are not considered during normalization factor computation:\n"
            f"{adata.var_names[excluded].tolist()}"
        )
    if factors is not None and not (factors > 0).all():
        warnings.warn("Some cells have zero counts", UserWarning, stacklevel=3)
    if inplace:
        if key_added is not None:
            adata.obs[key_added] = factors
        set_obs_rep(adata, normalized, layer=layer, obsm=obsm)
    logg.info("    finished ({time_passed})", time=start)
    if key_added is not None:
        logg.debug(f"and added {key_added!r}, counts per cell before normalization (adata.obs)")
    if copy:
        return adata
    return None if inplace else {"X": normalized, "norm_factor": factors}


def plan_normalize_total(
    adata: AnnData,
    *,
    target_sum: float | None = None,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    key_added: str | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    inplace: bool = True,
    **_: Any,
) -> Outline:
    """Plan :func:`normalize_total`."""
    x = _counts(adata, layer, obsm)
    _check_target(x, target_sum)
    x.transform(NormalizeTotal(_row_totals(x, None, None), 1.0))  # refused where it would leave nothing sparse
    factors_wanted = key_added is not None or not inplace
    results = 8 * x.shape[0] if factors_wanted else 0
    steps = [Step(_highly_expressed(x, max_fraction))] if exclude_highly_expressed else []
    if not _needs_totals(x, target_sum, factors_wanted=factors_wanted):
        return Outline(steps, "each row's total is found by the next pass", results)
    if exclude_highly_expressed:
        # which columns these are is not known yet; of how many the totals are changes no pass
        steps.append(Step(_totals_without(x, np.zeros(x.shape[1], dtype=bool))))
        reason = "the second pass is left out if no gene is highly expressed and totals are known"
        return Outline(steps, reason, results)
    steps += outline.statistics(x, "row_sum")
    return Outline(steps, "" if steps else "row totals are known", results)


def percentages(adata: AnnData, layer: str | None) -> tuple[OOMMatrix, OOMMatrix]:
    """Return counts, and how many per cent of the counts of their cell they are; lazily."""
    x = _counts(adata, layer, None)
    return get_obs_rep(adata, layer=layer), _normalize(x, 100, None, factors_wanted=False)[0]


def _counts(adata: AnnData, layer: str | None, obsm: str | None) -> OOMMatrix:
    """Return what is to be normalised, as floating-point numbers."""
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    if x.dtype == bool:
        reason = "booleans are no counts, and what becomes of them depends on how they are held"
        raise UnsupportedOutOfMemory(reason)
    return x.transform(Cast(np.dtype(np.float32))) if x.dtype.kind in "iu" else x


def _check_target(x: OOMMatrix, target_sum: float | None) -> None:
    if target_sum == 0 and x.is_dense:
        reason = "with a target of 0 scanpy makes NaN of the zeros in cells without counts"
        raise UnsupportedOutOfMemory(reason)


def _highly_expressed(x: OOMMatrix, max_fraction: float) -> list[Request]:
    """Ask for the columns that hold more than `max_fraction` of the total of some row."""
    return [Request(x, [HighlyExpressed(max_fraction)])]


def _totals_without(x: OOMMatrix, excluded: NDArray[np.bool_]) -> list[Request]:
    return [Request(x, [SetSums(~excluded[:, None])])]


def _is_stored(x: OOMMatrix) -> bool:
    """Tell whether `x` is what is stored: only its totals can be left to the next pass."""
    return all(isinstance(t, Cast) for t in x.chain.transforms) and not x.selection.repeats_columns


def _needs_totals(x: OOMMatrix, target_sum: float | None, *, factors_wanted: bool) -> bool:
    """Tell whether totals must be known at once."""
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
        return run(_totals_without(x, excluded))[0][0][:, 0]
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
