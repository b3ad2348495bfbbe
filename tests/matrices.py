"""Small AnnData, in memory and the same out of memory."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.storage.sources.memory import MemorySource


def counts(n_obs: int, n_vars: int, seed: int = 0, dtype: str = "float32", density: float = 0.3) -> sparse.csr_matrix:
    """Random counts, with an empty row and an empty column where there are several."""
    rng = np.random.default_rng(seed)
    dense = rng.poisson(3, (n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < density)
    if n_obs > 5:
        dense[3] = 0
    if n_vars > 5:
        dense[:, 2] = 0
    return sparse.csr_matrix(dense.astype(dtype))


def annotated(x) -> ad.AnnData:
    """An AnnData of `x` with labels, batches and flags."""
    n_obs, n_vars = x.shape
    i = np.arange(n_obs)
    obs = pd.DataFrame(
        {"kind": pd.Categorical([f"k{j}" for j in i * 7 % 3]), "batch": pd.Categorical([f"b{j}" for j in i % 2])},
        index=[f"cell{j}" for j in i],
    )
    var = pd.DataFrame({"mt": np.arange(n_vars) % 4 == 0}, index=[f"gene{j}" for j in range(n_vars)])
    return ad.AnnData(x, obs=obs, var=var)


def oom(matrix) -> OOMMatrix:
    """The same matrix, out of memory."""
    return OOMMatrix.from_source(MemorySource(matrix.copy()))


def pair(x) -> tuple[ad.AnnData, ad.AnnData]:
    """The same AnnData in memory and out of memory."""
    memory, lazy = annotated(x.copy()), annotated(x.copy())
    lazy.X = oom(x)
    return memory, lazy


def dense(matrix) -> np.ndarray:
    """Whatever matrix this is, as an array."""
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


as_held = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": dense}
"""What makes of a matrix one that is held in some way."""

FORMS = as_held | {"csr_array": sparse.csr_array}
"""The same, and SciPy's arrays."""
