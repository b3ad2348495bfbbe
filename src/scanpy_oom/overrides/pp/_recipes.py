"""The recipe that scanpy's own function can only run in memory: :func:`scanpy.pp.recipe_weinreb17`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from ... import _scanpy
from ...errors import UnsupportedOutOfMemory
from ...matrix.interop.anndata import become
from ...matrix.transforms import ByColumn, ByRow, Cast, Elementwise
from ...queries.answers import ENGINE
from ._pca import pca
from ._simple import log1p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..._scanpy import Seed
    from ...matrix import OOMMatrix

__all__ = ["recipe_weinreb17"]

MAX_FRACTION = 0.05
"""Share of a cell's counts above which a gene is left out of the totals."""

OFFSET = 0.0001
"""Number added to means and standard deviations before they divide."""

_DOUBLE = np.dtype(np.float64)


def recipe_weinreb17(
    adata: AnnData,
    *,
    log: bool = True,
    mean_threshold: float = 0.01,
    cv_threshold: int = 2,
    n_pcs: int = 50,
    svd_solver: str | None = "randomized",
    random_state: Seed = 0,
    copy: bool = False,
) -> AnnData | None:
    """Normalize and filter as of Weinreb et al. (2017): four passes, and those of `pca`.

    As in scanpy, of dense matrices alone. See :func:`scanpy.pp.recipe_weinreb17`.
    """
    x: OOMMatrix = adata.X
    if not x.is_dense:
        msg = "`recipe_weinreb16 does not support sparse matrices."
        raise ValueError(msg)
    if copy:
        adata = adata.copy()
        x = adata.X
    logged = AnnData(x, uns={key: adata.uns[key] for key in ("log1p",) if key in adata.uns})
    if log:
        log1p(logged)
    normalized = _normalized(logged.X)
    mean, std = _mean_std(normalized)
    genes = np.flatnonzero((mean > mean_threshold) & (std / (mean + OFFSET) > cv_threshold))
    chosen = normalized.select(columns=genes)
    centred = chosen.transform(ByColumn("subtract", mean[genes].astype(chosen.dtype), chosen.dtype))
    scores = centred.transform(ByColumn("divide", (std[genes] + OFFSET).astype(chosen.dtype), chosen.dtype))
    x_pca = pca(scores, n_comps=n_pcs, svd_solver=svd_solver, random_state=random_state)
    _scanpy.view_to_actual(adata)
    if log:
        adata.uns["log1p"] = logged.uns["log1p"]
    become(adata, adata[:, genes].copy())
    adata.X = chosen
    adata.obsm["X_pca"] = x_pca
    return adata if copy else None


def _normalized(x: OOMMatrix) -> OOMMatrix:
    """Divide each row by its total over the genes that nowhere make up much of a cell."""
    if x.dtype.kind not in "iuf" or x.dtype == np.float16:
        reason = f"totals of {x.dtype} depend on how they are added up"
        raise UnsupportedOutOfMemory(reason)
    floating = x.dtype if x.dtype.kind == "f" else _DOUBLE
    counts = _totals(x, floating)
    if (counts < 0).any():
        reason = "totals of cells are negative, so that zeros are more than the part of them that is allowed"
        raise UnsupportedOutOfMemory(reason)
    above = x.transform(ByRow("greater", counts * floating.type(MAX_FRACTION), np.dtype(bool)))
    included = _totals(
        x.select(columns=np.flatnonzero(ENGINE.statistics(above, "col_nnz").known["col_nnz"] == 0)), floating
    )
    if (empty := np.flatnonzero(included == 0)).size:
        msg = (
            f"{empty.size} cells cannot be normalized, the first of them at position {empty[0]}. Only genes with at "
            f"most {MAX_FRACTION:.0%} of the counts in every cell are used; these cells have no counts in such genes. "
            "Remove these cells first."
        )
        raise ValueError(msg)
    return x.transform(ByRow("divide", included, floating)).transform(Elementwise("multiply", counts.mean()))


def _totals(x: OOMMatrix, dtype: np.dtype) -> NDArray[np.floating]:
    return ENGINE.statistics(x, "row_sum").known["row_sum"].astype(dtype)


def _mean_std(x: OOMMatrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ENGINE.statistics(x.transform(Cast(_DOUBLE)), "col_sum", "col_sumsq").known
    mean = known["col_sum"] / x.shape[0]
    return mean, np.sqrt(np.maximum(known["col_sumsq"] / x.shape[0] - mean**2, 0))
