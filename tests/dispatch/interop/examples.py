"""A file that anndataoom can read."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from ...matrices import annotated, counts

N_OBS, N_VARS = 60, 30
ROWS, COLUMNS = np.array([50, 3, 4, 5, 3, 59, 0]), np.array([2, 29, 1, 1, 14])


def written(folder: Path, adata: ad.AnnData) -> Path:
    """Write a file that anndataoom can read: it knows no strings that may be missing, as pandas 3 has them."""
    with ad.settings.override(allow_write_nullable_strings=False):
        adata.write_h5ad(folder / "a.h5ad", compression="gzip")
    return folder / "a.h5ad"


def example(make=sparse.csr_matrix, dtype: str = "float32") -> ad.AnnData:
    adata = annotated(make(counts(N_OBS, N_VARS, dtype=dtype)))
    adata.raw = adata.copy()
    adata.layers["half"] = adata.X * 0.5
    adata.obsm["coordinates"] = np.arange(2.0 * N_OBS).reshape(N_OBS, 2)
    adata.obsm["sparse"] = sparse.csr_matrix(np.eye(N_OBS, 4))
    adata.varm["loadings"] = np.ones((N_VARS, 2))
    adata.obsp["distances"] = sparse.csr_matrix(np.eye(N_OBS))
    adata.varp["pairs"] = sparse.csr_matrix(np.eye(N_VARS))
    adata.uns |= {"nested": {"a": np.array([1, 2])}, "table": pd.DataFrame({"b": [1, 2]}), "text": "c"}
    return adata


def listing(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}
