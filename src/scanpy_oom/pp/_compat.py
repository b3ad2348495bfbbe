"""What differs between the versions of scanpy that are served, and the dtypes that its helpers give."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from packaging.version import Version
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["SCANPY_1_12", "axis_sum_dtype", "count_dtype", "get_obs_rep", "mean_dtype", "nnz_dtype", "set_obs_rep"]

SCANPY_1_12 = Version(version("scanpy")) >= Version("1.12rc1")


def _scanpy_axis_sum(x: Any) -> NDArray:
    if SCANPY_1_12:
        return importlib.import_module("fast_array_utils.stats").sum(x, axis=1)
    return np.ravel(importlib.import_module("scanpy._utils").axis_sum(x, axis=1))


def _probe(matrix: OOMMatrix) -> Any:
    """One value, held as scanpy would hold the matrix in memory."""
    one = np.ones((1, 1), dtype=matrix.dtype)
    return one if matrix.is_dense else sparse.csr_matrix(one).asformat(matrix.format_in_memory)


def axis_sum_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's sums of rows or columns."""
    return _scanpy_axis_sum(_probe(matrix)).dtype


def mean_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's means of columns, in the metrics of genes."""
    if not SCANPY_1_12:
        return np.dtype(np.float64)
    return importlib.import_module("fast_array_utils.stats").mean(_probe(matrix), axis=0).dtype


def count_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's sums of ``X > 0``."""
    return _scanpy_axis_sum(_probe(matrix) > 0).dtype


def nnz_dtype(matrix: OOMMatrix, axis: int) -> np.dtype:
    """Dtype of scanpy's numbers of non-zeros along an axis."""
    return np.asarray(importlib.import_module("scanpy._utils").axis_nnz(_probe(matrix), axis=axis)).dtype


def get_obs_rep(adata: AnnData, **choice: Any) -> Any:
    """Choose X, a layer, raw's X or an entry of obsm, as scanpy does, which names the arguments where two are given."""
    from scanpy.get import _get_obs_rep

    return _get_obs_rep(adata, **choice)


def set_obs_rep(adata: AnnData, value: Any, *, layer: str | None = None, obsm: str | None = None) -> None:
    """Set X, a layer or an entry of obsm, as scanpy does."""
    from scanpy.get import _set_obs_rep

    _set_obs_rep(adata, value, layer=layer, obsm=obsm)
