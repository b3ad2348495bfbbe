"""Correction of batch effects: :func:`scanpy.pp.combat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy import linalg as la
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...matrix.transforms.low_rank import Combine, LowRank
from ...reductions import GroupMoments, LeftProduct
from ._compat import set_x

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray

    from ...matrix import OOMMatrix
    from ...reductions import Moments

__all__ = ["combat"]

_DOUBLE = np.dtype(np.float64)


def combat(
    adata: AnnData,
    key: str = "batch",
    *,
    covariates: Collection[str] | None = None,
    inplace: bool = True,
) -> OOMMatrix | None:
    """Correct batch effects, lazily: two passes for the moments; values are corrected where they are read.

    See :func:`scanpy.pp.combat`. With `inplace=False` a matrix is returned that stays on disk.
    """
    _check(adata, key, covariates)
    _scanpy.sanitize_anndata(adata)
    x: OOMMatrix = adata.X
    design = _Design.of(adata, key, covariates)
    plan.reason("values are corrected when they are read")
    coefficients = compute(x, LeftProduct(design.projection.T), assume=plan.of_no_rows).T
    residual = x.transform(_subtract(LowRank(design.values, coefficients)))
    moments = compute(residual, GroupMoments(design.codes, design.n_batches))
    corrected = _corrected(x, design, coefficients, moments)
    if not inplace:
        return corrected
    set_x(adata, corrected)
    return None


def _check(adata: AnnData, key: str, covariates: Collection[str] | None) -> None:
    if key not in adata.obs:
        msg = f"Could not find the key {key!r} in adata.obs"
        raise ValueError(msg)
    if covariates is None:
        return
    found = np.isin(list(covariates), adata.obs.columns)
    if np.any(~found):
        msg = f"Could not find the covariate(s) {np.array(list(covariates))[~found].tolist()!r} in adata.obs"
        raise ValueError(msg)
    if key in covariates:
        msg = "Batch key and covariates cannot overlap"
        raise ValueError(msg)
    if len(covariates) != len(set(covariates)):
        msg = "Covariates must be unique"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """The linear model: one column a batch, then those of the covariates.

    Parameters
    ----------
    values
        `(n_rows, n_batches + n_covariates)`.
    codes
        `(n_rows,)` batch of each row.
    sizes
        `(n_batches,)` rows of each.
    projection
        `(n_batches + n_covariates, n_rows)`: gives the coefficients. Computed as scanpy does it, to the last bit: with
        a covariate of categories the model is singular, and the coefficients are whatever rounding makes of them.
    """

    values: NDArray[np.float64]
    projection: NDArray[np.float64]
    codes: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def n_batches(self) -> int:
        return self.sizes.size

    @classmethod
    def of(cls, adata: AnnData, key: str, covariates: Collection[str] | None) -> _Design:
        model = adata.obs[[key, *(covariates or [])]]
        if model.isna().any(axis=None):
            reason = "cells without a batch or without a covariate have no place in the model"
            raise UnsupportedOutOfMemory(reason)
        batches = model.groupby(key, observed=True).indices
        sizes = np.array([len(rows) for rows in batches.values()])
        small = [batch for batch, size in zip(batches, sizes, strict=True) if size < 2]
        if small and SCANPY_1_12:
            msg = (
                f"Batches {small!r} have fewer than 2 cells. "
                "ComBat requires at least 2 cells per batch to estimate "
                "within-batch variance. Filter these batches before running combat."
            )
            raise ValueError(msg)
        codes = np.empty(adata.n_obs, dtype=np.int64)
        for k, rows in enumerate(batches.values()):
            codes[rows] = k
        logg.info("Standardizing Data across genes.\n")
        design = _scanpy.combat_design_matrix(model, key, tuple(batches))
        projection = np.dot(la.inv(np.dot(design.T, design)), design.T)
        values = np.ascontiguousarray(design.to_numpy(dtype=np.float64))
        return cls(values, np.asarray(projection, dtype=np.float64), codes, sizes)


def _subtract(operand: LowRank, label: str = "residual") -> Combine:
    return Combine("subtract", operand, _DOUBLE, label)


def _corrected(x: OOMMatrix, design: _Design, coefficients: NDArray[np.float64], residual: Moments) -> OOMMatrix:
    """Return the matrix less the batch effects that empirical Bayes finds.

    Parameters
    ----------
    x
        The matrix.
    design, coefficients
        The model, and its `(n_terms, n_columns)` coefficients.
    residual
        Moments by batch of what the model leaves: deviations are taken from the fit, so that nothing cancels.
    """
    k, n = design.n_batches, design.sizes[:, None].astype(np.float64)
    grand_mean = (design.sizes / design.sizes.sum()) @ coefficients[:k]
    pooled = residual.total_squared.sum(axis=0, keepdims=True) / n.sum()
    if np.any(pooled == 0):
        print(f"Found {np.sum(pooled == 0)} genes with zero variance.")  # noqa: T201 - as scanpy
    logg.info("Fitting L/S model and finding priors\n")
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (residual.total / n + coefficients[:k] - grand_mean) / np.sqrt(pooled)
        var = np.maximum(residual.total_squared - residual.total**2 / n, 0) / (n - 1) / pooled
    flat = np.broadcast_to(pooled == 0, mean.shape)
    mean, var = np.where(flat, 0, mean), np.where(flat & (n > 1), 0, var)
    logg.info("Finding parametric adjustments\n")
    with np.errstate(divide="ignore", invalid="ignore"):
        stars = [_it_sol(int(size), m, v) for size, m, v in zip(design.sizes, mean, var, strict=True)]
        gamma, delta = (np.array(values) for values in zip(*stars, strict=True))
        gamma = np.identity(k) @ gamma  # as scanpy multiplies by the design: NaN of one batch is one of all
        logg.info("Adjusting data\n")
        factor = np.where(flat, 0, 1 / np.sqrt(delta))
        shift = -gamma / np.sqrt(delta) * np.sqrt(pooled)
    terms = np.column_stack([np.ones(x.shape[0]), design.values[:, k:]])
    expected = LowRank(terms, np.vstack([grand_mean, coefficients[k:]]))
    steps = (
        _subtract(expected, "combat: from expected"),
        Combine("multiply", LowRank(design.codes, factor), _DOUBLE, "rescale by batch"),
        Combine("add", LowRank(design.codes, shift), _DOUBLE, "shift by batch"),
        Combine("add", expected, _DOUBLE, "to expected"),
    )
    for step in steps:
        x = x.transform(step)
    return x


def _it_sol(
    n: int,
    mean: NDArray[np.float64],
    var: NDArray[np.float64],
    conv: float = 0.0001,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the conditional posterior means of location and scale of a batch, as scanpy's `_it_sol`.

    That goes through the standardized data at each iteration, for their sum of squares about a point, which follows
    from their mean and variance.

    Parameters
    ----------
    n
        Rows of the batch.
    mean, var
        `(n_columns,)` of its standardized data.
    conv
        Change below which it stops.
    """
    g_bar, t2 = mean.mean(), mean.var()
    a, b = _scanpy.combat_aprior(pd.Series(var)), _scanpy.combat_bprior(pd.Series(var))
    g_old, d_old = mean.copy(), var.copy()
    change = 1.0
    while change > conv:
        weight = t2 * n + d_old
        # where there is no variance at all, scanpy's is a rounding error, which leaves the mean
        g_new = np.where(weight == 0, mean, (t2 * n * mean + d_old * g_bar) / weight)
        sum2 = (n - 1) * var + n * (mean - g_new) ** 2
        d_new = (0.5 * sum2 + b) / (n / 2.0 + a - 1.0)
        change = max((abs(g_new - g_old) / g_old).max(), (abs(d_new - d_old) / d_old).max())
        g_old, d_old = g_new, d_new
    return g_old, d_old
