"""Mapping cells to a reference: :func:`scanpy.tl.ingest`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scanpy import logging as logg
from scanpy.tools._ingest import Ingest, _DimDict
from scipy import sparse

from ..errors import UnsupportedOutOfMemory
from ..matrix import OOMMatrix
from ..passes import ENGINE, ColumnMeans, MapRows, Request, run
from ..passes.outline import Outline, Step, statistics
from ..pp._compat import SCANPY_1_12

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["ingest", "plan_ingest"]


def ingest(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    obs: str | Iterable[str] | None = None,
    embedding_method: str | Iterable[str] = ("umap", "pca"),
    labeling_method: str | list[str] = "knn",
    neighbors_key: str | None = None,
    inplace: bool = True,
    **kwargs: Any,
) -> AnnData | None:
    """Map cells to a reference; the matrices, of which either may be in memory, are read by blocks of cells.

    See :func:`scanpy.tl.ingest`.
    """
    _check_representation(adata_ref, neighbors_key)
    start = logg.info("running ingest")
    labels = [obs] if isinstance(obs, str) else list(obs or ())
    methods = [embedding_method] if isinstance(embedding_method, str) else embedding_method
    labeling = [labeling_method] if isinstance(labeling_method, str) else labeling_method
    if len(labeling) == 1 and len(labels) > 1:
        labeling = labeling * len(labels)

    mapping = _Ingest(adata_ref, neighbors_key)
    mapping.fit(adata)
    for method in methods:
        mapping.map_embedding(method)
    if obs is not None:
        mapping.neighbors(**kwargs)
        for i, label in enumerate(labels):
            mapping.map_labels(label, labeling[i])
    logg.info("    finished", time=start)
    return mapping.to_adata(inplace=inplace)


def plan_ingest(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    embedding_method: str | Iterable[str] = ("umap", "pca"),
    neighbors_key: str | None = None,
    **_: Any,
) -> Outline:
    """Plan :func:`ingest`."""
    _check_representation(adata_ref, neighbors_key)
    steps = []
    if SCANPY_1_12 and isinstance(adata_ref.X, OOMMatrix):
        steps += statistics(adata_ref.X, "col_sum")
    n_projections = 1 + ("pca" in ([embedding_method] if isinstance(embedding_method, str) else embedding_method))
    if isinstance(adata.X, OOMMatrix):
        if not SCANPY_1_12:
            steps.append(Step([Request(adata.X, [ColumnMeans(_sum_dtype(adata.X))])]))
        n_components = adata_ref.varm["PCs"].shape[1]
        project = MapRows(np.asarray, (n_components,), np.float32)
        steps += [Step([Request(adata.X, [project])]) for _ in range(n_projections)]
    return Outline(steps, results=8 * adata.n_obs * 50)


def _check_representation(adata_ref: AnnData, neighbors_key: str | None) -> None:
    """Make sure that neighbors are those of a representation and not of the expression values themselves.

    Raises
    ------
    UnsupportedOutOfMemory
        If they are of the values: then cells are compared by all of these.
    """
    neighbors = adata_ref.uns.get("neighbors" if neighbors_key is None else neighbors_key)
    if neighbors is None:
        return  # scanpy says that there are none
    params = neighbors["params"]
    if params.get("use_rep") == "X" or (not {"use_rep", "n_pcs"} & params.keys() and "X_pca" not in adata_ref.obsm):
        reason = "the neighbors of the reference are those of its expression values, which are all compared"
        raise UnsupportedOutOfMemory(reason)


def _sum_dtype(x: OOMMatrix) -> np.dtype:
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)


class _Ingest(Ingest):
    """scanpy's, with matrices that may be on disk."""

    def _init_pca(self, adata: AnnData) -> None:
        x = adata.X
        if isinstance(x, OOMMatrix):
            if SCANPY_1_12 and adata.uns["pca"]["params"]["zero_center"]:
                # the mean of one cell is that cell
                x = ENGINE.statistics(x, "col_sum").known["col_sum"][None, :] / x.shape[0]
            adata = SimpleNamespace(uns=adata.uns, var=adata.var, varm=adata.varm, X=x)
        super()._init_pca(adata)

    def fit(self, adata_new: AnnData) -> None:
        """Map cells to the representation of the reference."""
        if not isinstance(adata_new.X, OOMMatrix):
            super().fit(adata_new)
            return
        if not self._adata_ref.var_names.str.upper().equals(adata_new.var_names.str.upper()):
            msg = "Variables in the new adata are different from variables in the reference adata"
            raise ValueError(msg)
        self._obs = pd.DataFrame(index=adata_new.obs.index)
        self._obsm = _DimDict(adata_new.n_obs, axis=0)
        self._adata_new = adata_new
        self._obsm["rep"] = self._same_rep()

    def _pca(self, n_pcs: int | None = None) -> NDArray:
        assert self._adata_new is not None
        x = self._adata_new.X
        if not isinstance(x, OOMMatrix):
            return super()._pca(n_pcs)
        basis = self._pca_basis[:, :n_pcs]
        if self._pca_use_hvg:
            x = x.select(None, np.flatnonzero(self._adata_ref.var["highly_variable"].to_numpy()))
        shape, dtype = (basis.shape[1],), np.result_type(x.dtype, basis.dtype)
        if SCANPY_1_12:
            projected = run([Request(x, [MapRows(lambda rows: rows @ basis, shape, dtype)])])[0][0]
            return projected if self._pca_mean is None else projected - self._pca_mean @ basis
        mean: Any = 0
        if self._pca_centered:  # of the new cells
            mean = run([Request(x, [ColumnMeans(_sum_dtype(x))])])[0][0].astype(_sum_dtype(x))

        def project(rows: Any) -> NDArray:
            return np.dot((rows.toarray() if sparse.issparse(rows) else rows) - mean, basis)

        return run([Request(x, [MapRows(project, shape, dtype)])])[0][0]
