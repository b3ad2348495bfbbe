"""`sc.pp.neighbors` with ``settings.graph = "fast"``, beside scanpy's own."""

from __future__ import annotations

import os
import subprocess
import sys

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import settings
from scanpy_oom._scanpy import SCANPY_1_12, SCANPY_1_13

from ...matrices import annotated, pair
from ...neighbors.points import clustered


@pytest.fixture(autouse=True)
def _fast():
    scanpy_oom.enable()
    settings.graph = "fast"


def cells(n: int = 300, dtype: type = np.float32) -> ad.AnnData:
    adata = annotated(sparse.csr_matrix((n, 60), dtype=np.float32))
    adata.obsm["X_pca"] = clustered(n, 20, dtype=dtype)
    return adata


def by_scanpy(adata: ad.AnnData, **arguments) -> ad.AnnData:
    settings.graph = "scanpy"
    found = sc.pp.neighbors(adata, copy=True, **arguments)
    settings.graph = "fast"
    return found


def last_call():
    return scanpy_oom.report().calls[-1]


@pytest.fixture
def n_jobs(request):
    before = sc.settings.n_jobs
    sc.settings.n_jobs = request.param  # of a class whose properties a monkeypatch cannot put back
    yield
    sc.settings.n_jobs = before


@pytest.mark.parametrize("n_jobs", [1, 2], indirect=True)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_neighbors": 7, "n_pcs": 5, "key_added": "few"},
        {"metric": "cosine", "use_rep": "X_pca"},
        {"metric": "correlation", "random_state": 3},
    ],
    ids=str,
)
@pytest.mark.usefixtures("n_jobs")
def test_graphs_are_those_of_scanpy(arguments, dtype):
    adata = cells(dtype=dtype)
    arguments = {"method": "gauss"} | arguments
    want, found = by_scanpy(adata, **arguments), sc.pp.neighbors(adata, copy=True, **arguments)
    assert "neighbors" not in adata.uns
    key = arguments.get("key_added", "neighbors")
    params = dict(found.uns[key]["params"])
    assert params.pop("recall") == 1
    assert {**found.uns[key], "params": params} == want.uns[key]
    assert found.obsp.keys() == want.obsp.keys()
    for name in want.obsp:
        ours, theirs = found.obsp[name], want.obsp[name]
        assert type(ours) is type(theirs)
        assert (ours.dtype, ours.indices.dtype) == (theirs.dtype, theirs.indices.dtype)
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=1e-3, atol=2e-6)
    call = last_call()
    assert call.how == "out of memory"
    assert "settings.graph is 'fast'; all pairs of cells are compared" in call.reason


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_distances_of_many_cells_have_the_precision_of_pynndescent(metric):
    adata = cells(8200)
    want, found = by_scanpy(adata, metric=metric), sc.pp.neighbors(adata, metric=metric, copy=True)
    for name in want.obsp:
        assert found.obsp[name].dtype == want.obsp[name].dtype


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_cells_without_length_are_left_to_scanpy_where_scikit_learn_compares_them(metric):
    adata = cells()
    adata.obsm["X_pca"][3] = 0
    want, found = by_scanpy(adata, metric=metric), sc.pp.neighbors(adata, metric=metric, copy=True)
    assert "cells without length" in last_call().reason
    np.testing.assert_array_equal(found.obsp["distances"].toarray(), want.obsp["distances"].toarray())


def test_connectivities_are_those_of_umap_by_default():
    found, want = cells(), by_scanpy(cells())
    assert sc.pp.neighbors(found) is None
    assert found.obsp["connectivities"].dtype == want.obsp["connectivities"].dtype
    difference = abs(found.obsp["connectivities"] - want.obsp["connectivities"])
    assert difference.max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"metric": "manhattan"}, "the metric manhattan"),
        ({"metric_kwds": {"squared": False}}, "`metric_kwds` is given"),
        ({"transformer": "sklearn"}, "`transformer` is given"),
        ({"knn": False}, "`knn=False` asks for all pairs"),
    ],
)
def test_what_is_not_covered_is_left_to_scanpy_which_is_told(arguments, reason):
    adata = cells()
    want = by_scanpy(adata, method="gauss", **arguments)
    sc.pp.neighbors(adata, method="gauss", **arguments)
    assert "recall" not in adata.uns["neighbors"]["params"]
    np.testing.assert_array_equal(np.asarray(abs(adata.obsp["connectivities"] - want.obsp["connectivities"]).max()), 0)
    call = last_call()
    assert call.how == "scanpy as it is"
    assert f"settings.graph is 'fast', which does not cover this: {reason}" in call.reason


@pytest.mark.skipif(not SCANPY_1_12, reason="scanpy takes distances since 1.12")
def test_distances_that_are_given_are_left_to_scanpy():
    adata = cells()
    distances = sc.pp.neighbors(adata, copy=True).obsp["distances"]
    sc.pp.neighbors(adata, distances=distances, method="gauss")
    assert "`distances` is given" in last_call().reason


@pytest.mark.skipif(not SCANPY_1_13, reason="scanpy takes a generator since 1.13")
def test_a_generator_leaves_no_seed_in_uns():
    adata = cells()
    sc.pp.neighbors(adata, rng=np.random.default_rng(0))
    assert "random_state" not in adata.uns["neighbors"]["params"]


def test_errors_are_scanpys():
    with pytest.raises(TypeError, match="no_such"):
        sc.pp.neighbors(cells(), no_such=1)
    with pytest.raises(ValueError, match="Did not find no_such"):
        sc.pp.neighbors(cells(), use_rep="no_such")
    adata = cells()
    adata.obsm["X_pca"][3, 3] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        sc.pp.neighbors(adata)
    assert "neighbors" not in adata.uns


def test_few_cells_have_fewer_neighbors():
    adata = cells(8)
    sc.pp.neighbors(adata, method="gauss")
    assert adata.uns["neighbors"]["params"]["n_neighbors"] == 5
    assert adata.obsp["distances"].nnz == 8 * 4


def test_a_view_becomes_an_anndata_of_its_own():
    view = cells()[:100]
    sc.pp.neighbors(view)
    assert not view.is_view
    assert view.obsp["distances"].shape == (100, 100)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_on_disk_are_compared_where_they_lie(dtype):
    memory, lazy = pair(sparse.csr_matrix(np.maximum(clustered(200, 30), 0).astype(dtype)))
    settings.memory_limit = "300MB"
    for adata in (memory, lazy):
        sc.pp.neighbors(adata, use_rep="X", method="gauss")
    left, ours = scanpy_oom.report().calls[-2:]
    assert "cells are represented by a csr_matrix" in left.reason
    assert ours.how == "out of memory"
    for name in ("distances", "connectivities"):  # to what exponentials make of single precision
        want, got = (adata.obsp[name] for adata in (memory, lazy))
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got.toarray(), want.toarray(), rtol=1e-4, atol=1e-6)
    assert type(lazy.X).__name__ == "OOMCSRMatrix"


def test_the_plan_says_who_runs_it():
    lazy = pair(sparse.csr_matrix(clustered(50, 30)))[1]
    assert "settings.graph is 'fast'" in str(lazy.oom.explain("neighbors"))


def test_neither_pynndescent_nor_umap_learn_is_imported():
    script = """
import sys
import numpy as np, anndata as ad
import scanpy_oom
scanpy_oom.enable()
import scanpy as sc
adata = ad.AnnData(np.zeros((200, 60), "f4"))
adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(200, 20)).astype("f4")
sc.pp.neighbors(adata)
print(adata.uns["neighbors"]["params"]["recall"], sorted({"umap", "pynndescent"} & set(sys.modules)))
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SCANPY_OOM_GRAPH": "fast"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split("\n")[0] == "1.0 []"
