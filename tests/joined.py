"""What `anndata.concat` gives, out of memory against in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse

from scanpy_oom import OOMMatrix


def lognormalize(adata: ad.AnnData) -> None:
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)


def values(matrix: Any) -> np.ndarray:
    matrix = matrix.to_memory() if isinstance(matrix, OOMMatrix) else matrix
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def assert_same_matrix(lazy: Any, memory: Any, *, is_lazy: bool) -> None:
    assert (lazy is None) == (memory is None)
    if memory is None:
        return
    if is_lazy and 0 not in memory.shape:
        assert isinstance(lazy, OOMMatrix)
    assert lazy.dtype == memory.dtype
    if isinstance(lazy, OOMMatrix):
        assert lazy.is_dense == isinstance(memory, np.ndarray)
        assert lazy.nnz == (np.count_nonzero(memory) if lazy.is_dense else memory.nnz - (memory.data == 0).sum())
    # bit for bit: the same operations on the same numbers (NaN is no equal of itself where NumPy holds objects)
    exact = [x.astype(float) if x.dtype == object else x for x in (values(lazy), values(memory))]
    np.testing.assert_array_equal(*exact)


def assert_same(lazy: ad.AnnData, memory: ad.AnnData, *, is_lazy: bool = True) -> None:
    pd.testing.assert_frame_equal(lazy.obs, memory.obs)
    pd.testing.assert_frame_equal(lazy.var, memory.var)
    assert_same_matrix(lazy.X, memory.X, is_lazy=is_lazy)
    assert set(lazy.layers) == set(memory.layers)
    for name in memory.layers:
        assert_same_matrix(lazy.layers[name], memory.layers[name], is_lazy=False)
    assert (lazy.raw is None) == (memory.raw is None)
    if memory.raw is not None:
        assert_same_matrix(lazy.raw.X, memory.raw.X, is_lazy=False)
        pd.testing.assert_frame_equal(lazy.raw.var, memory.raw.var)


def outcome(adatas: Sequence[ad.AnnData], arguments: dict[str, Any]) -> ad.AnnData | type[Exception]:
    try:
        return ad.concat(list(adatas), **arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, both must give it
        return type(error)
