"""Differences between versions of scanpy, and the dtypes of its helpers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
from anndata import ImplicitModificationWarning
from scipy import sparse

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13
from ...matrix.interop.anndata import become
from ...messages import warn_user

if TYPE_CHECKING:
    from anndata import AnnData

    from ..._scanpy import RNG, Draws, Seed
    from ...matrix import OOMMatrix

__all__ = [
    "axis_sum_dtype",
    "count_dtype",
    "draws_with",
    "get_obs_rep",
    "mean_dtype",
    "nnz_dtype",
    "one_value",
    "put_back",
    "set_obs_rep",
    "set_x",
]


def _scanpy_axis_sum(x: np.ndarray | sparse.spmatrix) -> np.ndarray:
    if SCANPY_1_12:
        return importlib.import_module("fast_array_utils.stats").sum(x, axis=1)
    return np.ravel(_scanpy.axis_sum(x, axis=1))


def one_value(matrix: OOMMatrix) -> np.ndarray | sparse.spmatrix:
    """One value, held as scanpy would hold the matrix in memory."""
    one = np.ones((1, 1), dtype=matrix.dtype)
    return one if matrix.is_dense else sparse.csr_matrix(one).asformat(matrix.format_in_memory)


def axis_sum_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's sums of rows or columns."""
    return _scanpy_axis_sum(one_value(matrix)).dtype


def mean_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's means of columns, in the metrics of genes."""
    if not SCANPY_1_12:
        return np.dtype(np.float64)
    return importlib.import_module("fast_array_utils.stats").mean(one_value(matrix), axis=0).dtype


def count_dtype(matrix: OOMMatrix) -> np.dtype:
    """Dtype of scanpy's sums of ``X > 0``."""
    return _scanpy_axis_sum(one_value(matrix) > 0).dtype


def nnz_dtype(matrix: OOMMatrix, axis: int) -> np.dtype:
    """Dtype of scanpy's numbers of non-zeros along an axis."""
    return np.asarray(_scanpy.axis_nnz(one_value(matrix), axis=axis)).dtype


def draws_with(random_state: Seed, rng: RNG) -> Draws:
    """Return what scanpy draws with, by the name of the argument in the installed version."""
    return {"rng": np.random.default_rng(rng)} if SCANPY_1_13 else {"random_state": random_state}


def get_obs_rep(adata: AnnData, **choice: str | bool | None) -> OOMMatrix:
    """Choose X, a layer, raw's X or an entry of obsm, as scanpy does, which names the arguments where two are given."""
    return _scanpy.get_rep(adata, **choice)


def set_obs_rep(adata: AnnData, value: OOMMatrix, *, layer: str | None = None, obsm: str | None = None) -> None:
    """Set X, a layer or an entry of obsm, as scanpy does."""
    _scanpy.set_rep(adata, value, layer=layer, obsm=obsm)


def put_back(adata: AnnData, x: OOMMatrix, result: OOMMatrix, *, in_place: bool, **choice: str | None) -> None:
    """Set X, a layer or an entry of obsm to what a function has made of it, as scanpy does.

    Parameters
    ----------
    adata
        Where it is.
    x
        The matrix that is there.
    result
        What was made of it.
    in_place
        Whether scanpy changes matrices of this kind in place: all that holds the matrix then sees the result.
    choice
        `layer` or `obsm`, as in scanpy's function.
    """
    if in_place:
        x.become(result)
    set_obs_rep(adata, x if in_place else result, **choice)


def set_x(adata: AnnData, x: OOMMatrix) -> None:
    """Set X; a view becomes an AnnData of its own, with anndata's notice, and what it shows stays as it was."""
    if adata.is_view:
        warn_user("Setting element `.X` of view, initializing view as actual.", ImplicitModificationWarning)
        become(adata, adata.copy())
    adata.X = x
