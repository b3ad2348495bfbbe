"""Connectivities, as those of umap-learn and scanpy for the same neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanpy.neighbors import _connectivity
from scipy import sparse

import scanpy_oom
from scanpy_oom.neighbors import connectivities
from scanpy_oom.neighbors.graph import distance_graph

from .points import clustered


def graph(n: int, k: int, seed: int, levels: int, dtype: type) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, levels, (n, 4)) / levels).astype(np.float32)
    return distance_graph(x, k, "euclidean", dtype)[0]


def with_self(distances: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Indices and distances as umap-learn takes them."""
    n = distances.shape[0]
    indices, values = distances.indices.reshape(n, -1), distances.data.reshape(n, -1)
    return np.hstack([np.arange(n)[:, None], indices]), np.hstack([np.zeros((n, 1)), values])


@settings(max_examples=40)
@given(
    n=st.integers(8, 120),
    k=st.integers(2, 8),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([3, 20, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_umap_is_that_of_umap_learn(n, k, seed, levels, dtype):
    distances = graph(n, k, seed, levels, dtype)
    indices, values = with_self(distances)
    want = _connectivity.umap(indices, values, n_obs=n, n_neighbors=k)
    found = connectivities.umap(distances)
    assert (found.dtype, found.indices.dtype, type(found)) == (want.dtype, want.indices.dtype, type(want))
    np.testing.assert_array_equal(found.indptr, want.indptr)
    np.testing.assert_array_equal(found.indices, want.indices)
    np.testing.assert_allclose(found.data, want.data, rtol=3e-5, atol=1e-7)


@settings(max_examples=40)
@given(
    n=st.integers(8, 120),
    k=st.integers(2, 8),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([3, 20, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_gauss_is_that_of_scanpy(n, k, seed, levels, dtype):
    distances = graph(n, k, seed, levels, dtype)
    distances.sort_indices()
    want = _connectivity.gauss(distances.copy(), k, knn=True)
    want.sort_indices()
    found = connectivities.gauss(distances)
    assert (found.dtype, found.indices.dtype, type(found)) == (want.dtype, want.indices.dtype, type(want))
    np.testing.assert_array_equal(found.indptr, want.indptr)
    np.testing.assert_array_equal(found.indices, want.indices)
    rtol = 1e-4 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(found.data, want.data, rtol=rtol, atol=1e-7 if dtype is np.float32 else 0)


@pytest.mark.parametrize("kind", ["umap", "gauss"])
def test_connectivities_do_not_depend_on_threads_and_blocks(kind, monkeypatch):
    distances = distance_graph(clustered(3000), 15, "euclidean")[0]
    compute = getattr(connectivities, kind)
    scanpy_oom.settings.n_threads = 1
    want = compute(distances)
    monkeypatch.setattr(connectivities, "BLOCK", 100)
    scanpy_oom.settings.n_threads = 4
    found = compute(distances)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
    assert (found != found.T).nnz == 0
    assert found.has_canonical_format
