"""Mapping cells to a reference: :func:`scanpy.tl.ingest`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...matrix import OOMMatrix
from ...queries.answers import ENGINE
from ...reductions import ColumnMeans, MapRows
from ..pp import _pca
from ..pp._small import held_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scipy import sparse

__all__ = ["ingest"]


def ingest(
    adata: AnnData,
    adata_ref: AnnData,
    *,
    obs: str | Iterable[str] | None = None,
    embedding_method: str | Iterable[str] = ("umap", "pca"),
    labeling_method: str | list[str] = "knn",
    neighbors_key: str | None = None,
    inplace: bool = True,
    **kwargs: object,
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
    if plan.is_made():
        _plan(adata, adata_ref, n_projections=_fit_projects(adata_ref, neighbors_key) + ("pca" in methods))

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


def _plan(adata: AnnData, adata_ref: AnnData, *, n_projections: int) -> None:
    """Tell a plan of the passes that scanpy's class asks for, in the middle of its work on the graph of neighbors."""
    plan.results(8 * adata.n_obs * 50)
    plan.or_assume(lambda: _values_of_reference(adata_ref), lambda: None)
    x = adata.X
    if isinstance(x, OOMMatrix):
        project = MapRows(np.asarray, (adata_ref.varm["PCs"].shape[1],), np.float32)
        for _ in range(n_projections):
            if _is_small(x):
                plan.or_assume(lambda: held_in_memory(x, "ingest"), lambda: None)
                continue
            if not SCANPY_1_12 and adata_ref.uns["pca"]["params"]["zero_center"]:
                compute(x, ColumnMeans(_sum_dtype(x)), assume=plan.of_no_rows)
            compute(x, project, assume=plan.of_no_rows)
    plan.end()


def _fit_projects(adata_ref: AnnData, neighbors_key: str | None) -> bool:
    """Return whether scanpy's class projects cells to compare them, as it does if neighbors are those of PCA."""
    neighbors = adata_ref.uns.get("neighbors" if neighbors_key is None else neighbors_key)
    params = {} if neighbors is None else neighbors["params"]
    of_pca = "n_pcs" in params or (adata_ref.n_vars > sc.settings.N_PCS and "X_pca" in adata_ref.obsm)
    return "use_rep" not in params and of_pca


def _values_of_reference(adata: AnnData) -> sparse.csr_matrix | np.ndarray:
    """Return what scanpy's class takes for X of the reference: of many cells, their mean."""
    x = adata.X
    if not isinstance(x, OOMMatrix):
        return x
    if _is_small(x):
        return held_in_memory(x, "ingest")
    if SCANPY_1_12 and adata.uns["pca"]["params"]["zero_center"]:
        # the mean of one cell is that cell
        return ENGINE.statistics(x, "col_sum").known["col_sum"][None, :] / x.shape[0]
    return x


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


def _is_small(x: OOMMatrix) -> bool:
    """Return whether scanpy itself projects the cells, as an array: coordinates are then its own to the last bit."""
    return x.shape[0] * x.shape[1] * x.dtype.itemsize <= _pca.SMALL


class _Ingest(sc.tl.Ingest):
    """scanpy's, with matrices that may be on disk."""

    def _init_pca(self, adata: AnnData) -> None:
        if isinstance(adata.X, OOMMatrix):
            values = _values_of_reference(adata)
            adata = AnnData(values, var=adata.var, varm=dict(adata.varm), uns=adata.uns)
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
        self._obsm = _scanpy.ingest_dim_dict(adata_new.n_obs, axis=0)
        self._adata_new = adata_new
        self._obsm["rep"] = self._same_rep()

    def _pca_of_small(self, x: sparse.csr_matrix | np.ndarray, n_pcs: int | None) -> np.ndarray:
        on_disk = self._adata_new
        self._adata_new = SimpleNamespace(X=x)
        try:
            projected: np.ndarray = super()._pca(n_pcs)
        finally:
            self._adata_new = on_disk
        return projected

    def _pca(self, n_pcs: int | None = None) -> np.ndarray:
        assert self._adata_new is not None
        x = self._adata_new.X
        if not isinstance(x, OOMMatrix):
            return super()._pca(n_pcs)
        if _is_small(x):
            return self._pca_of_small(held_in_memory(x, "ingest"), n_pcs)
        basis = self._pca_basis[:, :n_pcs]
        mask = self._pca_mask if SCANPY_1_13 else self._adata_ref.var["highly_variable"] if self._pca_use_hvg else None
        if mask is not None:
            x = x.select(None, np.flatnonzero(mask))
        shape, dtype = (basis.shape[1],), np.result_type(x.dtype, basis.dtype)
        if SCANPY_1_12:
            projected = compute(x, MapRows(lambda rows: rows @ basis, shape, dtype))
            return projected if self._pca_mean is None else projected - self._pca_mean @ basis
        mean: np.ndarray | int = 0
        if self._pca_centered:  # of the new cells
            mean = compute(x, ColumnMeans(_sum_dtype(x))).astype(_sum_dtype(x))

        def project(rows: sparse.csr_matrix | np.ndarray) -> np.ndarray:
            return np.dot((rows if isinstance(rows, np.ndarray) else rows.toarray()) - mean, basis)

        return compute(x, MapRows(project, shape, dtype))
