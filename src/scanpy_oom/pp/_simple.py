"""Filtering of cells and genes, and the logarithm: :mod:`scanpy.preprocessing._simple`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata import AnnData
from scanpy import logging as logg
from scanpy._utils import view_to_actual

from ..matrix.transforms import Elementwise
from ..passes import ENGINE, outline
from ..passes.outline import Outline
from ._compat import axis_sum_dtype, count_dtype, get_obs_rep, set_obs_rep
from ._matrices import warn_not_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = [
    "filter_cells",
    "filter_genes",
    "log1p",
    "plan_filter_cells",
    "plan_filter_genes",
    "plan_log1p",
    "plan_sqrt",
    "sqrt",
]


def filter_cells(
    data: AnnData | OOMMatrix,
    *,
    min_counts: int | None = None,
    min_genes: int | None = None,
    max_counts: int | None = None,
    max_genes: int | None = None,
    inplace: bool = True,
    copy: bool = False,
) -> AnnData | tuple[NDArray[np.bool_], NDArray] | None:
    """Filter cell outliers based on counts and numbers of genes expressed.

    Reads nothing if the metrics of the cells are known. See :func:`scanpy.pp.filter_cells`.
    """
    thresholds = _Thresholds("genes", min_counts, min_genes, max_counts, max_genes, copy=copy)
    if not isinstance(data, AnnData):
        return thresholds.apply(data, "row")
    adata = data.copy() if copy else data
    subset, number = thresholds.apply(adata.X, "row")
    if not inplace:
        return subset, number
    adata.obs["n_counts" if thresholds.of_counts else "n_genes"] = number
    adata._inplace_subset_obs(subset)
    return adata if copy else None


def filter_genes(
    data: AnnData | OOMMatrix,
    *,
    min_counts: int | None = None,
    min_cells: int | None = None,
    max_counts: int | None = None,
    max_cells: int | None = None,
    inplace: bool = True,
    copy: bool = False,
) -> AnnData | tuple[NDArray[np.bool_], NDArray] | None:
    """Filter genes based on number of cells or counts.

    Reads nothing if the metrics of the genes are known. See :func:`scanpy.pp.filter_genes`.
    """
    thresholds = _Thresholds("cells", min_counts, min_cells, max_counts, max_cells, copy=copy)
    if not isinstance(data, AnnData):
        return thresholds.apply(data, "col")
    adata = data.copy() if copy else data
    subset, number = thresholds.apply(adata.X, "col")
    if not inplace:
        return subset, number
    adata.var["n_counts" if thresholds.of_counts else "n_cells"] = number
    adata._inplace_subset_var(subset)
    return adata if copy else None


def plan_filter_cells(
    data: AnnData,
    *,
    min_counts: int | None = None,
    min_genes: int | None = None,
    max_counts: int | None = None,
    max_genes: int | None = None,
    copy: bool = False,
    **_: Any,
) -> Outline:
    """Plan :func:`filter_cells`."""
    return _Thresholds("genes", min_counts, min_genes, max_counts, max_genes, copy=copy).plan(data.X, "row")


def plan_filter_genes(
    data: AnnData,
    *,
    min_counts: int | None = None,
    min_cells: int | None = None,
    max_counts: int | None = None,
    max_cells: int | None = None,
    copy: bool = False,
    **_: Any,
) -> Outline:
    """Plan :func:`filter_genes`."""
    return _Thresholds("cells", min_counts, min_cells, max_counts, max_cells, copy=copy).plan(data.X, "col")


class _Thresholds:
    """The one threshold that was given: on counts, or on how many genes (cells) are expressed."""

    def __init__(
        self,
        other: Literal["genes", "cells"],
        min_counts: int | None,
        min_number: int | None,
        max_counts: int | None,
        max_number: int | None,
        *,
        copy: bool,
    ) -> None:
        if copy:
            logg.warning("`copy` is deprecated, use `inplace` instead.")
        if sum(option is not None for option in (min_number, min_counts, max_number, max_counts)) != 1:
            msg = (
                "Only provide one of the optional parameters `min_counts`, "
                f"`min_{other}`, `max_counts`, `max_{other}` per call."
            )
            raise ValueError(msg)
        self.of_counts = min_number is None and max_number is None
        self._lower = min_counts if min_number is None else min_number
        self._upper = max_counts if max_number is None else max_number
        self._unit = "counts" if self.of_counts else ("genes expressed" if other == "genes" else "cells")

    def apply(self, x: OOMMatrix, axis: Literal["row", "col"]) -> tuple[NDArray[np.bool_], NDArray]:
        """Which rows or columns are kept, and the number that was compared."""
        name = self._statistic(axis)
        number = ENGINE.statistics(x, name).known[name].astype(axis_sum_dtype(x) if self.of_counts else count_dtype(x))
        subset = number >= self._lower if self._lower is not None else number <= self._upper
        self._log(int(np.count_nonzero(~subset)), axis)
        return subset, number

    def plan(self, x: OOMMatrix, axis: Literal["row", "col"]) -> Outline:
        """Plan :meth:`apply`, with the column that it leaves."""
        steps = outline.statistics(x, self._statistic(axis))
        reason = "" if steps else f"statistics of {'rows' if axis == 'row' else 'columns'} are known"
        if steps and steps[0].requests[0].matrix is not x:
            reason = "counts before rows were removed are known: those of the rows removed are taken off"
        return Outline(steps, reason, x.shape[0 if axis == "row" else 1] * 8)

    def _statistic(self, axis: Literal["row", "col"]) -> str:
        return f"{axis}_sum" if self.of_counts else f"{axis}_npos"

    def _log(self, n_removed: int, axis: Literal["row", "col"]) -> None:
        if n_removed == 0:
            return
        bound = f"less than {self._lower}" if self._lower is not None else f"more than {self._upper}"
        what = "cells that have" if axis == "row" else "genes that are detected in"
        logg.info(f"filtered out {n_removed} {what} {bound} {self._unit}")


def log1p(
    data: AnnData | OOMMatrix,
    *,
    base: float | None = None,
    copy: bool = False,
    chunked: bool | None = None,
    chunk_size: int | None = None,
    layer: str | None = None,
    obsm: str | None = None,
) -> AnnData | OOMMatrix | None:
    """Logarithmize the data matrix, lazily.

    `chunked` and `chunk_size` change nothing: values are computed block by block when they are read. See
    :func:`scanpy.pp.log1p`.
    """
    if not isinstance(data, AnnData):
        given = {"chunked": chunked, "chunk_size": chunk_size, "layer": layer, "obsm": obsm}
        if invalid := [name for name, value in given.items() if value is not None]:
            msg = f"Arguments {invalid} are only valid if an AnnData object is passed."
            raise TypeError(msg)
        if not copy and data.dtype.kind == "f":
            warn_not_in_place("sc.pp.log1p")
        return _log1p(data, base)
    if "log1p" in data.uns:
        logg.warning("adata.X seems to be already log-transformed.")
    if chunked and (layer is not None or obsm is not None):
        msg = "Currently cannot perform chunked operations on arrays not stored in X."
        raise NotImplementedError(msg)
    adata = data.copy() if copy else data
    view_to_actual(adata)
    set_obs_rep(adata, _log1p(get_obs_rep(adata, layer=layer, obsm=obsm), base), layer=layer, obsm=obsm)
    adata.uns["log1p"] = {"base": base}
    return adata if copy else None


def plan_log1p(data: AnnData, *, layer: str | None = None, obsm: str | None = None, **_: Any) -> Outline:
    """Plan :func:`log1p`."""
    _log1p(get_obs_rep(data, layer=layer, obsm=obsm), None)
    return Outline([], "values are computed when they are read")


def _log1p(x: OOMMatrix, base: float | None) -> OOMMatrix:
    kept = x.dtype.kind == "f" if x.is_dense else x.dtype in (np.float32, np.float64)
    dtype = x.dtype if kept else np.dtype(np.float64)
    x = x.transform(Elementwise("log1p", dtype=dtype))
    return x if base is None else x.transform(Elementwise("divide", np.log(base), dtype))


def sqrt(
    data: AnnData | OOMMatrix, *, copy: bool = False, chunked: bool = False, chunk_size: int | None = None
) -> AnnData | OOMMatrix | None:
    """Take the square root of the data matrix, lazily.

    As in scanpy, `chunked=True` keeps the dtype of X; `chunk_size` changes nothing. See :func:`scanpy.pp.sqrt`.
    """
    if not isinstance(data, AnnData):
        return data.transform(Elementwise("sqrt"))
    adata = data.copy() if copy else data
    view_to_actual(adata)
    x: OOMMatrix = adata.X
    rooted = x.transform(Elementwise("sqrt"))
    adata.X = rooted.astype(x.dtype) if chunked else rooted
    return adata if copy else None


def plan_sqrt(data: AnnData, **_: Any) -> Outline:
    """Plan :func:`sqrt`."""
    return Outline([], "values are computed when they are read")
