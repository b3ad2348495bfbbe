"""Residuals of genes after a regression on other variables: :func:`scanpy.pp.regress_out`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg

from ... import _scanpy
from ...engine.compute import run
from ...engine.explain import plan
from ...engine.request import Request
from ...errors import UnsupportedOutOfMemory
from ...matrix.transforms import ByColumn, Cast
from ...matrix.transforms.low_rank import Combine, LowRank
from ...messages import warn_user
from ...reductions import ColumnExtrema, GroupMoments, LeftProduct
from ._compat import get_obs_rep, put_back

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from ...engine.reduction import Reduction
    from ...matrix import OOMMatrix
    from ...reductions import Moments

__all__ = ["regress_out"]

_DOUBLE = np.dtype(np.float64)
_PERFECT = 1e-8
"""Residuals up to this size count as none: the tolerance with which statsmodels compares them to zero."""


def regress_out(
    adata: AnnData,
    keys: str | Sequence[str],
    *,
    layer: str | None = None,
    n_jobs: int | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Regress out sources of variation, lazily: coefficients are found in one pass, residuals where they are read.

    `n_jobs` changes nothing: ``scanpy_oom.settings.n_threads`` says how many threads read. See
    :func:`scanpy.pp.regress_out`.
    """
    start = logg.info(f"regressing out {keys}")
    adata = adata.copy() if copy else adata
    _scanpy.sanitize_anndata(adata)
    _scanpy.view_to_actual(adata)
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    plan.reason("residuals are computed when they are read")
    regression = _regression(adata, x, keys)
    residuals = regression.residual(run([Request(regression.x, regression.reductions)])[0])
    in_place = isinstance(regression, _OnVariables) and x.is_dense and x.dtype.kind == "f"
    put_back(adata, x, residuals, in_place=in_place, layer=layer)
    logg.info("    finished", time=start)
    return adata if copy else None


def _regression(adata: AnnData, x: OOMMatrix, keys: str | Sequence[str]) -> _OnVariables | _OnPseudoinverse | _OnGroups:
    """Choose the regression as scanpy does: by groups, by normal equations, or, where these are singular, without."""
    if x.dtype == bool:
        reason = "booleans are no measurements, and scanpy has no residuals of them"
        raise UnsupportedOutOfMemory(reason)
    if 0 in x.shape or x.dtype == np.float16:
        reason = "scanpy has residuals of half-precision values, or where there are no values, in some cases only"
        raise UnsupportedOutOfMemory(reason)
    keys = [keys] if isinstance(keys, str) else keys
    if keys[0] in adata.obs and (
        isinstance(adata.obs[keys[0]].dtype, pd.CategoricalDtype) or _becomes_categorical(adata.obs[keys[0]])
    ):
        if len(keys) > 1:
            msg = (
                "If providing categorical variable, only a single one is allowed. For this one "
                "we regress on the mean for each category."
            )
            raise ValueError(msg)
        logg.debug("... regressing on per-gene means within categories")
        return _OnGroups(x, pd.Categorical(adata.obs[keys[0]]))
    regressors = adata.obs[keys]
    regressors.insert(0, "ones", 1.0)
    design = regressors.to_numpy()
    if np.linalg.det(design.T @ design) != 0:
        return _OnVariables(x, np.asarray(design, dtype=np.float64))
    return _OnPseudoinverse(x, np.asarray(design, dtype=np.float64))


def _becomes_categorical(column: pd.Series) -> bool:
    """Return whether scanpy's `sanitize_anndata` would make this column categorical."""
    return pd.api.types.infer_dtype(column) == "string" and column.nunique() < column.size


class _OnVariables:
    """Solve the normal equations, in the dtype of the data."""

    def __init__(self, x: OOMMatrix, design: NDArray[np.float64]) -> None:
        if x.dtype.kind in "iu":
            x = x.transform(Cast(np.dtype(np.float32) if x.dtype.itemsize <= 4 else _DOUBLE))
        self.x = x
        self._design = design
        self.reductions: list[Reduction] = [LeftProduct(design)]

    def residual(self, found: list[NDArray[np.float64]]) -> OOMMatrix:
        coefficients = np.linalg.inv(self._design.T @ self._design) @ found[0].T
        return self.x.transform(_subtract(LowRank(self._design, coefficients), self.x.dtype))


class _OnPseudoinverse:
    """Solve by the pseudoinverse, for variables that depend on each other."""

    def __init__(self, x: OOMMatrix, design: NDArray[np.float64]) -> None:
        self.x = x
        self._design = design
        self.reductions: list[Reduction] = [LeftProduct(np.linalg.pinv(design).T), _all_rows(x)]

    def residual(self, found: list[Any]) -> OOMMatrix:
        coefficients, moments = found[0].T, found[1]
        explained = np.einsum("kj,kl,lj->j", coefficients, self._design.T @ self._design, coefficients)
        deficient = np.full(self.x.shape[1], np.linalg.matrix_rank(self._design) < self._design.shape[1])
        return _of_generalized_model(self.x, LowRank(self._design, coefficients), moments, explained, deficient)


class _OnGroups:
    """On the mean of each gene within groups, as scanpy does it: these are the one regressor of each gene, rounded.

    What no group holds has the regressor 0.
    """

    def __init__(self, x: OOMMatrix, groups: pd.Categorical) -> None:
        if x.dtype.kind in "iu":
            x = x.transform(Cast(np.dtype(np.float32) if x.dtype.itemsize <= 4 else _DOUBLE))
        self.x = x
        self._n_groups = len(groups.categories)
        self._codes = np.where(groups.codes < 0, self._n_groups, groups.codes).astype(np.int64)
        self.reductions: list[Reduction] = [GroupMoments(self._codes, self._n_groups + 1)]

    def residual(self, found: list[Moments]) -> OOMMatrix:
        (moments,) = found
        fitted, deficient = self._fitted(moments)
        explained = (moments.n[:, None] * fitted**2).sum(axis=0)
        model = LowRank(self._codes, fitted)
        return _of_generalized_model(self.x, model, moments.sum_of_groups(), explained, deficient)

    def _fitted(self, moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the line through the means of the groups, at these means, and of which genes all means are equal.

        These are `(n_groups + 1, n_columns)` and `(n_columns,)`.
        """
        n = moments.n[:, None].astype(np.float64)
        mean = np.divide(moments.total, n, out=np.zeros_like(moments.total), where=n > 0)
        regressor = mean.astype(np.float32).astype(np.float64)
        regressor[-1] = 0
        if np.isinf(regressor).any():
            from statsmodels.tools.sm_exceptions import MissingDataError

            msg = "exog contains inf or nans"  # as statsmodels has it, which scanpy calls
            raise MissingDataError(msg)
        weight = n / max(n.sum(), 1)
        from_center = regressor - (weight * regressor).sum(axis=0)
        spread = (weight * from_center**2).sum(axis=0)
        center = (weight * mean).sum(axis=0)
        shared = (weight * from_center * mean).sum(axis=0)
        present = regressor[moments.n > 0]
        alike = (present == present[:1]).all(axis=0)  # the spread of which is what rounding leaves
        slope = np.divide(shared, spread, out=np.zeros_like(spread), where=~alike & (spread > 0))
        return center + slope * from_center, alike


def _all_rows(x: OOMMatrix) -> GroupMoments:
    return GroupMoments(np.zeros(x.shape[0], dtype=np.int64), 1)


def _warn_of_rank() -> None:
    """Give the warning that statsmodels gives, if the installed one does, of variables that depend on each other."""
    from statsmodels.regression.linear_model import WLS

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        WLS(np.arange(3.0), np.ones((3, 2))).fit()
    for warning in said:
        warn_user(str(warning.message), warning.category)


def _subtract(operand: LowRank, dtype: np.dtype) -> Combine:
    return Combine("subtract", operand, dtype, "regress_out")


def _of_generalized_model(
    x: OOMMatrix,
    fitted: LowRank,
    moments: Moments,
    explained: NDArray[np.float64],
    deficient: NDArray[np.bool_],
) -> OOMMatrix:
    """Return residuals as statsmodels and scanpy give them: constant genes as they are, perfectly fitted ones as zeros.

    Which these are is found by a second pass over the few genes of which hardly anything is left.

    Parameters
    ----------
    x
        What was regressed.
    fitted
        The values that are expected.
    moments
        Moments of the columns, one group.
    explained
        `(n_columns,)` sum of squares of what is expected.
    deficient
        `(n_columns,)`: whether the variables depend on each other.
    """
    (total_squared,), (nnz,), n = moments.total_squared, moments.nnz, x.shape[0]
    if not np.isfinite(total_squared).all():
        reason = "there are values that are not finite"
        raise UnsupportedOutOfMemory(reason)
    left = total_squared - explained
    constant, perfect = nnz == 0, np.zeros(nnz.size, dtype=bool)
    small = np.flatnonzero(~constant & (left <= np.maximum(1e-6 * total_squared, n * _PERFECT**2)))
    residual = x.transform(_subtract(fitted, _DOUBLE))
    if small.size:
        requests = [Request(m.select(columns=small), [ColumnExtrema()]) for m in (x, residual)]
        (values,), (residuals,) = run(requests, cache=False)
        constant[small] = values[0] == values[1]
        perfect[small] = (np.abs(residuals) <= _PERFECT).all(axis=0) & ~constant[small]
    if (deficient & ~constant).any():
        _warn_of_rank()
    for _ in range(np.count_nonzero(perfect)):
        logg.warning("Encountered perfect separation, setting to 0 as in R.")
    as_it_is = LowRank(fitted.rows, np.where(constant, 0.0, fitted.columns))
    residual = x.transform(_subtract(as_it_is, x.dtype if constant.all() else _DOUBLE))
    return (
        residual.transform(ByColumn("multiply", (~perfect).astype(np.float64), _DOUBLE)) if perfect.any() else residual
    )
