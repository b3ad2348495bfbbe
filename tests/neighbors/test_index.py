from __future__ import annotations

import gc

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import MemoryBudgetExceeded, settings
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.neighbors.index import Index

from .points import clustered, recall, spread, true_neighbors


def components(path) -> np.ndarray:
    """Principal components of real counts."""
    adata = ad.read_h5ad(path)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.pca(adata, n_comps=50)
    return adata.obsm["X_pca"]


@pytest.mark.parametrize("name", ["pbmc3k_counts.h5ad", "pbmc_facs_counts.h5ad"])
def test_real_cells_find_their_neighbors(name, data_dir):
    x = components(data_dir / name)
    rows = np.arange(0, len(x), max(1, len(x) // 300))
    true = true_neighbors(x, rows, 15)
    exact = Index(x, 14, exact_up_to=10**6)
    assert exact.recall == 1
    np.testing.assert_array_equal(exact.neighbors(15).indices[rows], true)
    index = Index(x, 14, exact_up_to=0)
    found = recall(index.neighbors(15).indices[rows], true)
    assert index.recall >= 0.995
    assert found >= 0.99


def test_a_hard_case_is_searched_for_all_of_its_neighbors():
    x = spread(20_000)
    rows = np.arange(0, 20_000, 100)
    true = true_neighbors(x, rows, 15)
    index = Index(x, 14)
    np.testing.assert_array_equal(index.neighbors(15).indices[rows], true)
    # buckets help little here, which is measured, so that many are searched or all
    index = Index(x, 14, exact_up_to=0)
    assert recall(index.neighbors(15).indices[rows], true) >= 0.99


def test_the_recall_that_is_told_is_that_of_all_cells():
    x = clustered(30_000)
    index = Index(x, 14, recall=0.9, exact_up_to=0)
    assert 0.9 <= index.recall < 0.995
    assert index.n_searched < 10
    exact = Index(x, 14).neighbors(15)
    assert abs(recall(index.neighbors(15).indices, exact.indices) - index.recall) < 0.01
    assert f"a recall of {index.recall:.4f}" in index.described


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_results_do_not_depend_on_threads_and_limits(metric):
    x = clustered(12_000)
    results = []
    for n_threads, limit in [(1, "300MB"), (2, "2GB"), (4, "300MB")]:
        settings.n_threads, settings.memory_limit = n_threads, limit
        index = Index(x, 14, metric, exact_up_to=0)
        results.append((index.n_searched, index.recall, index.neighbors(15)))
    for n_searched, part, found in results[1:]:
        assert (n_searched, part) == results[0][:2]
        np.testing.assert_array_equal(found.indices, results[0][2].indices)
        np.testing.assert_array_equal(found.distances, results[0][2].distances)


def test_cells_beyond_their_bucket_are_found_where_the_nearest_are_too_small():
    x = np.concatenate([clustered(3000, 5), 1000 + clustered(12, 5)])
    index = Index(x, 14, recall=0.5, exact_up_to=0)
    found = index.neighbors(15)
    assert (found.indices >= 0).all()
    assert np.isfinite(found.distances).all()


def test_what_does_not_fit_is_refused_and_what_is_held_is_given_back():
    gc.collect()  # indexes of other tests
    before = ACCOUNTANT.held
    settings.memory_limit = "1MB"
    with pytest.raises(MemoryBudgetExceeded, match="The search of neighbors of 20,000 cells would take"):
        Index(clustered(20_000), 14)
    settings.memory_limit = "300MB"
    index = Index(clustered(2000), 14)
    assert ACCOUNTANT.held.get("workspace", 0) - before.get("workspace", 0) == index.nbytes
    del index
    assert ACCOUNTANT.held == before
