"""Filtering of cells and genes, and the logarithm: :mod:`scanpy.preprocessing._simple`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from anndata import AnnData
from scanpy import logging as logg
from scipy import sparse
from sklearn.utils import check_array

from ... import _scanpy
from ...engine.explain import plan
from ...matrix.interop.anndata import become
from ...matrix.transforms import Elementwise
from ...queries.answers import ENGINE
from ._compat import axis_sum_dtype, count_dtype, get_obs_rep, put_back, set_x

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...matrix import OOMMatrix

__all__ = [
    "Thresholds",
    "filter_cells",
    "filter_genes",
    "log1p",
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
) -> AnnData | tuple[NDArray[np.bool_], np.ndarray] | None:
    """Filter cell outliers based on counts and numbers of genes expressed.

    Reads nothing if the metrics of the cells are known. See :func:`scanpy.pp.filter_cells`.
    """
    thresholds = Thresholds("genes", min_counts, min_genes, max_counts, max_genes, copy=copy)
    return thresholds.filter(data, "row", inplace=inplace, copy=copy)


def filter_genes(
    data: AnnData | OOMMatrix,
    *,
    min_counts: int | None = None,
    min_cells: int | None = None,
    max_counts: int | None = None,
    max_cells: int | None = None,
    inplace: bool = True,
    copy: bool = False,
) -> AnnData | tuple[NDArray[np.bool_], np.ndarray] | None:
    """Filter genes based on number of cells or counts.

    Reads nothing if the metrics of the genes are known. See :func:`scanpy.pp.filter_genes`.
    """
    thresholds = Thresholds("cells", min_counts, min_cells, max_counts, max_cells, copy=copy)
    return thresholds.filter(data, "col", inplace=inplace, copy=copy)


class Thresholds:
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
            asked = "Provide exactly one" if _scanpy.SCANPY_1_13 else "Only provide one"
            msg = (
                f"{asked} of the optional parameters `min_counts`, `min_{other}`, `max_counts`, `max_{other}` per call."
            )
            raise ValueError(msg)
        self.of_counts = min_number is None and max_number is None
        self._lower = min_counts if min_number is None else min_number
        self._upper = max_counts if max_number is None else max_number
        self._other = other
        self._unit = "counts" if self.of_counts else ("genes expressed" if other == "genes" else "cells")

    def filter(
        self, data: AnnData | OOMMatrix, axis: Literal["row", "col"], *, inplace: bool, copy: bool
    ) -> AnnData | tuple[NDArray[np.bool_], np.ndarray] | None:
        """Keep the cells (``"row"``) or genes (``"col"``) within the threshold, as scanpy's two functions do."""
        if not isinstance(data, AnnData):
            return self.apply(data, axis)
        adata = data.copy() if copy else data
        annotations = adata.obs if axis == "row" else adata.var
        plan.reason("", if_none=f"statistics of {'rows' if axis == 'row' else 'columns'} are known")
        plan.results(8 * len(annotations))
        subset, number = self.apply(adata.X, axis)
        plan.end()
        if not inplace:
            return subset, number
        annotations["n_counts" if self.of_counts else f"n_{self._other}"] = number
        become(adata, (adata[subset] if axis == "row" else adata[:, subset]).copy())
        return adata if copy else None

    def apply(self, x: OOMMatrix, axis: Literal["row", "col"]) -> tuple[NDArray[np.bool_], np.ndarray]:
        """Which rows or columns are kept, and the number that was compared; in a plan all are."""
        name = self._statistic(axis)
        number = ENGINE.statistics(x, name).known[name].astype(axis_sum_dtype(x) if self.of_counts else count_dtype(x))
        subset = number >= self._lower if self._lower is not None else number <= self._upper
        subset |= plan.is_made()
        self._log(int(np.count_nonzero(~subset)), axis)
        return subset, number

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

    As in scanpy, `chunked=True` keeps the dtype of X, so that logarithms of whole numbers are cut off; `chunk_size`
    changes nothing. See :func:`scanpy.pp.log1p`.
    """
    if not isinstance(data, AnnData):
        given = {"chunked": chunked, "chunk_size": chunk_size, "layer": layer, "obsm": obsm}
        if invalid := [name for name, value in given.items() if value is not None]:
            msg = f"Arguments {invalid} are only valid if an AnnData object is passed."
            raise TypeError(msg)
        result = _log1p(data, base)
        if copy or result.dtype != data.dtype:
            return result
        data.become(result)
        return data
    if "log1p" in data.uns:
        logg.warning("adata.X seems to be already log-transformed.")
    if chunked and (layer is not None or obsm is not None):
        msg = "Currently cannot perform chunked operations on arrays not stored in X."
        raise NotImplementedError(msg)
    adata = data.copy() if copy else data
    plan.reason("values are computed when they are read")
    _scanpy.view_to_actual(adata)
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    if not chunked:
        result = _log1p(x, base)
        put_back(adata, x, result, in_place=result.dtype == x.dtype, layer=layer, obsm=obsm)
    elif x.shape[0]:  # scanpy looks at none of no chunks
        put_back(adata, x, _log1p(x, base).astype(x.dtype), in_place=True)
    adata.uns["log1p"] = {"base": base}
    return adata if copy else None


def _log1p(x: OOMMatrix, base: float | None) -> OOMMatrix:
    if 0 in x.shape and not x.is_dense:
        check_array(sparse.csr_matrix(x.shape), accept_sparse=True)  # which takes none without rows or columns
    kept = x.dtype.kind == "f" if x.is_dense else x.dtype in (np.float32, np.float64)
    dtype = x.dtype if kept else np.dtype(np.float64)
    x = x.transform(Elementwise("log1p", dtype=dtype))
    return x if base is None else x.transform(Elementwise("divide", np.log(base), dtype, keeps_zeros=not x.is_dense))


def sqrt(
    data: AnnData | OOMMatrix, *, copy: bool = False, chunked: bool = False, chunk_size: int | None = None
) -> AnnData | OOMMatrix | None:
    """Take the square root of the data matrix, lazily.

    As in scanpy, `chunked=True` keeps the dtype of X; `chunk_size` changes nothing. See :func:`scanpy.pp.sqrt`.
    """
    if not isinstance(data, AnnData):
        return data.transform(Elementwise("sqrt"))
    plan.reason("values are computed when they are read")
    adata = data.copy() if copy else data
    x: OOMMatrix = adata.X
    rooted = x.transform(Elementwise("sqrt"))
    if chunked and not adata.is_view:
        put_back(adata, x, rooted.astype(x.dtype), in_place=True)
    else:
        set_x(adata, rooted.astype(x.dtype) if chunked else rooted)
    return adata if copy else None
