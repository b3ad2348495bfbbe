"""Functions for old scripts: `scanpy.pp.normalize_per_cell` and `scanpy.pp.filter_genes_dispersion`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg

from ... import _scanpy
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...matrix.interop.anndata import become
from ...matrix.transforms import ByRow
from ...messages import warn_user
from ...reductions import GroupMoments
from ._compat import put_back
from ._simple import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from numpy.typing import NDArray
    from scipy import sparse

    from ...matrix import OOMMatrix

    Layer: TypeAlias = OOMMatrix | sparse.spmatrix | np.ndarray

__all__ = [
    "filter_genes_dispersion",
    "normalize_per_cell",
]


def _warn_deprecated(name: str) -> None:
    """Give scanpy's own warning, at the line of the user's call."""
    import scanpy

    warn_user(getattr(scanpy.pp, name).__deprecated__, FutureWarning)


def normalize_per_cell(
    data: AnnData | OOMMatrix,
    *,
    counts_per_cell_after: float | None = None,
    counts_per_cell: np.ndarray | None = None,
    key_n_counts: str = "n_counts",
    copy: bool = False,
    layers: Literal["all"] | Iterable[str] = (),
    use_rep: Literal["after", "X"] | None = None,
    min_counts: int = 1,
) -> AnnData | OOMMatrix | None:
    """Normalize total counts per cell, lazily; cells of less than `min_counts` are taken out.

    See `scanpy.pp.normalize_per_cell`.
    """
    _warn_deprecated("normalize_per_cell")
    if not isinstance(data, AnnData):
        return _normalize_matrix(data, counts_per_cell_after, counts_per_cell, min_counts, copy=copy)
    if use_rep not in {"after", "X", None}:
        msg = 'use_rep should be "after", "X" or None'
        raise ValueError(msg)
    start = logg.info("normalizing by total count per cell")
    adata = data.copy() if copy else data
    plan.reason("", if_none="counts of cells are known")
    plan.results(8 * adata.n_obs)
    x: OOMMatrix = adata.X
    subset: NDArray[np.bool_] | None = None
    if counts_per_cell is None:
        subset, number = _counted(x, min_counts)
        counts_per_cell = number[subset]
        x = x.select(rows=np.flatnonzero(subset))
        normalized = _divide_rows(x, counts_per_cell, counts_per_cell_after)
        adata.obs[key_n_counts] = number  # where that makes a view an AnnData of its own, anndata says so
        become(adata, adata[subset].copy())
        put_back(adata, adata.X, normalized, in_place=True)
    else:
        normalized = _divide_rows(x, counts_per_cell, counts_per_cell_after)
        _scanpy.view_to_actual(adata)
        put_back(adata, adata.X, normalized, in_place=True)
    names = list(adata.layers.keys()) if layers == "all" else list(layers)
    after = counts_per_cell_after if use_rep == "after" else None
    if use_rep == "X":
        if subset is None:
            msg = '`use_rep="X"` needs the cells to be counted: leave `counts_per_cell` out.'
            raise ValueError(msg)
        after = np.median(counts_per_cell[subset])
    for name in names:  # with anndata 0.13 "all" has X among them, in scanpy as well
        adata.layers[name] = _normalize_layer(adata.layers[name], after, min_counts)
    logg.info(
        "    finished ({time_passed}): normalized adata.X and added\n"
        f"    {key_n_counts!r}, counts per cell before normalization (adata.obs)",
        time=start,
    )
    return adata if copy else None


def _counted(x: OOMMatrix, min_counts: int) -> tuple[NDArray[np.bool_], np.ndarray]:
    """Return which cells have so many counts, and how many each has."""
    return Thresholds("genes", min_counts, None, None, None, copy=False).apply(x, "row")


def _normalize_layer(layer: Layer, after: float | None, min_counts: int) -> Layer:
    """Normalize all cells of a layer, which may be in memory."""
    import scanpy

    if isinstance(layer, np.ndarray) or not hasattr(layer, "transform"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            _, counts = scanpy.pp.filter_cells(layer, min_counts=min_counts)
            return scanpy.pp.normalize_per_cell(layer, counts_per_cell_after=after, counts_per_cell=counts, copy=True)
    _, counts = _counted(layer, min_counts)
    return _with_order_of(layer, _divide_rows(layer, counts, after))


def _normalize_matrix(
    x: OOMMatrix, after: float | None, counts: np.ndarray | None, min_counts: int, *, copy: bool
) -> OOMMatrix | None:
    if counts is None and not copy:
        msg = "Can only be run with copy=True"
        raise ValueError(msg)
    if counts is None:
        subset, number = _counted(x, min_counts)
        x, counts = x.select(rows=np.flatnonzero(subset)), number[subset]
    normalized = _divide_rows(x, counts, after)
    if copy:
        return _with_order_of(x, normalized)
    x.become(normalized)
    return None


def _with_order_of(x: OOMMatrix, normalized: OOMMatrix) -> OOMMatrix:
    """Return a copy of a matrix with other values: scanpy divides a copy in place, whose bytes keep their order."""
    found = x.copy()
    found.become(normalized)
    return found


def _divide_rows(x: OOMMatrix, counts: np.ndarray, after: float | None) -> OOMMatrix:
    """Divide each row by its counts relative to `after`; changes `counts`, as scanpy does."""
    _check_in_place(x.dtype, np.dtype(np.float64))
    if after is None:
        after = np.median(counts)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        counts += counts == 0
        counts /= after
        if x.is_dense:
            return x.transform(ByRow("divide", counts.copy(), x.dtype))
        return x.transform(ByRow("multiply", 1 / counts, x.dtype))


def _check_in_place(dtype: np.dtype, factor: np.dtype) -> None:
    """Fail as NumPy does where values of `dtype` cannot be multiplied in place."""
    probe = np.ones(1, dtype=dtype)
    probe *= np.ones(1, dtype=factor)


def filter_genes_dispersion(  # noqa: PLR0913
    data: AnnData | OOMMatrix,
    *,
    flavor: Literal["seurat", "cell_ranger"] = "seurat",
    min_disp: float | None = None,
    max_disp: float | None = None,
    min_mean: float | None = None,
    max_mean: float | None = None,
    n_bins: int = 20,
    n_top_genes: int | None = None,
    log: bool = True,
    subset: bool = True,
    copy: bool = False,
) -> AnnData | np.recarray | None:
    """Extract highly variable genes, in one pass.

    As in scanpy, `n_bins` counts only where a matrix is given. See `scanpy.pp.filter_genes_dispersion`.
    """
    _warn_deprecated("filter_genes_dispersion")
    bounds = {"min_disp": min_disp, "max_disp": max_disp, "min_mean": min_mean, "max_mean": max_mean}
    is_matrix = not isinstance(data, AnnData)
    for _ in range((any(v is not None for v in bounds.values())) + (not is_matrix) if n_top_genes is not None else 0):
        warn_user("If you pass `n_top_genes`, all cutoffs are ignored.")
    defaults = {"min_disp": 0.5, "max_disp": np.inf, "min_mean": 0.0125, "max_mean": 3}
    cutoffs = {name: defaults[name] if value is None else value for name, value in bounds.items()}
    if not isinstance(data, AnnData):
        return _dispersions(data, flavor, n_bins, n_top_genes, cutoffs, log=log)
    adata = data.copy() if copy else data
    plan.results(13 * adata.n_vars)
    result = _dispersions(adata.X, flavor, 20, n_top_genes, cutoffs, log=log)
    for name in ("means", "dispersions", "dispersions_norm"):
        adata.var[name] = result[name]
    if subset:
        become(adata, adata[:, result["gene_subset"]].copy())
    else:
        adata.var["highly_variable"] = result["gene_subset"]
    return adata if copy else None


def _dispersions(
    x: OOMMatrix, flavor: str, n_bins: int, n_top_genes: int | None, bounds: dict[str, float], *, log: bool
) -> np.recarray:
    start = logg.info("extracting highly variable genes")
    if flavor not in {"seurat", "cell_ranger"}:
        msg = '`flavor` needs to be "seurat" or "cell_ranger"'
        raise ValueError(msg)
    if x.dtype == bool:
        reason = "booleans have no variance in scanpy"
        raise UnsupportedOutOfMemory(reason)
    (mean,), (var,) = compute(x, GroupMoments(np.zeros(x.shape[0], dtype=np.int64), 1)).mean_var()
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = var / mean
    if log:
        dispersion[dispersion == 0] = np.nan
        dispersion, mean = np.log(dispersion), np.log1p(mean)
    df = pd.DataFrame({"mean": mean, "dispersion": dispersion})
    norm = _normalized_by_bin(df, flavor, n_bins)
    single = norm.astype(np.float32)
    if n_top_genes is not None:
        ranked = np.sort(single[~np.isnan(single)])[::-1]
        cutoff = ranked[n_top_genes - 1]
        chosen = norm >= cutoff
        logg.debug(f"the {n_top_genes} top genes correspond to a normalized dispersion cutoff of {cutoff}")
    else:
        known = np.where(np.isnan(single), np.float32(0), single)  # similar to Seurat
        chosen = (mean > bounds["min_mean"]) & (mean < bounds["max_mean"])
        chosen &= (known > bounds["min_disp"]) & (known < bounds["max_disp"])
    logg.info("    finished", time=start)
    names = [("gene_subset", bool), *((name, "float32") for name in ("means", "dispersions", "dispersions_norm"))]
    return np.rec.fromarrays((chosen, df["mean"].to_numpy(), df["dispersion"].to_numpy(), single), dtype=names)


def _normalized_by_bin(df: pd.DataFrame, flavor: str, n_bins: int) -> NDArray[np.float64]:
    """Dispersions relative to those of the genes of like mean, as scanpy's function has it; adds their bins to `df`."""
    by_rank = flavor == "cell_ranger"
    edges = np.r_[-np.inf, np.percentile(df["mean"], np.arange(10, 105, 5)), np.inf] if by_rank else n_bins
    df["mean_bin"] = pd.cut(df["mean"], edges)
    grouped = df.groupby("mean_bin", observed=True)["dispersion"]
    if by_rank:
        from statsmodels import robust

        center = grouped.median()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spread = grouped.apply(robust.mad)
    else:
        center, spread = grouped.mean(), grouped.std(ddof=1)
        alone = spread.isna()
        genes = np.flatnonzero(_of_genes(alone, df)).tolist()
        if genes:
            logg.debug(
                f"Gene indices {genes} fell into a single bin: their normalized dispersion was set to 1.\n    "
                "Decreasing `n_bins` will likely avoid this effect."
            )
        spread, center = spread.where(~alone, center), center.where(~alone, 0)
    difference = df["dispersion"].to_numpy() - _of_genes(center, df)
    return (np.abs(difference) if by_rank else difference) / _of_genes(spread, df)


def _of_genes(by_bin: pd.Series, df: pd.DataFrame) -> np.ndarray:
    """Return what is known of bins for each gene of `df`; a KeyError tells, as in scanpy, of genes without a bin."""
    return by_bin.loc[df["mean_bin"].array].to_numpy()
