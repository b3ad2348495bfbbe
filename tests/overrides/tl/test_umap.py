from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import settings
from scanpy_oom._scanpy import SCANPY_1_13

from ...embedding.graphs import in_parts, strip


def with_graph(graph: sparse.csr_matrix, key: str = "neighbors") -> ad.AnnData:
    """An AnnData with a graph, and cells along a line."""
    n = graph.shape[0]
    adata = ad.AnnData(np.arange(n, dtype=np.float32)[:, None].repeat(3, axis=1))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    prefix = "" if key == "neighbors" else f"{key}_"
    keys = {"connectivities_key": f"{prefix}connectivities", "distances_key": f"{prefix}distances"}
    adata.uns[key] = {**keys, "params": {"n_neighbors": 5, "method": "umap", "metric": "euclidean"}}
    for name in keys.values():
        adata.obsp[name] = graph.copy()
    adata.obsm["X_line"] = np.stack([np.arange(n), np.zeros(n)], axis=1)
    adata.obsm["X_line"][:, 1] += np.random.default_rng(0).normal(size=n)
    return adata


def ours(adata: ad.AnnData, **arguments):
    """Call it, and return the AnnData that holds the layout, and who ran it."""
    settings.graph = "fast"
    scanpy_oom.report(clear=True)
    result = sc.tl.umap(adata, **arguments)
    return (adata if result is None else result), scanpy_oom.report().calls[-1]


def theirs(adata: ad.AnnData, **arguments) -> ad.AnnData:
    settings.graph = "scanpy"
    result = sc.tl.umap(adata, **arguments)
    return adata if result is None else result


COVERED = [
    {},
    {"random_state": 3},
    {"n_components": 3},
    {"key_added": "mine"},
    {"init_pos": "random"},
    {"init_pos": "X_line"},
    {"init_pos": np.random.default_rng(0).normal(size=(40, 2))},
    {"a": 0.6, "b": 1.2},
    {"min_dist": 0.1, "spread": 2.0},
    {"copy": True},
    {"gamma": 2.0, "alpha": 0.5, "negative_sample_rate": 3},
    *([{"rng": 5}, {"rng": None}] if SCANPY_1_13 else []),
]


@pytest.mark.parametrize("arguments", COVERED, ids=str)
def test_what_is_left_in_the_object_is_what_scanpy_leaves(arguments):
    memory, fast = with_graph(strip(40)), with_graph(strip(40))
    expected = theirs(memory, maxiter=20, **arguments)
    found, call = ours(fast, maxiter=20, **arguments)
    assert call.how == "out of memory"
    assert "X_umap" not in fast.obsm if arguments.get("copy") else found is fast
    assert list(found.obsm) == list(expected.obsm)
    assert list(found.uns) == list(expected.uns)
    key = arguments.get("key_added", "umap")
    assert found.uns[key]["params"].keys() == expected.uns[key]["params"].keys()
    for name, value in expected.uns[key]["params"].items():
        assert found.uns[key]["params"][name] == pytest.approx(value, rel=1e-10)
    key = arguments.get("key_added", "X_umap")
    assert found.obsm[key].dtype == expected.obsm[key].dtype
    assert found.obsm[key].shape == expected.obsm[key].shape
    assert np.isfinite(found.obsm[key]).all()


def test_the_same_seed_gives_the_same_layout_and_leaves_the_graph_as_it_was():
    adata = with_graph(strip(600))
    before = adata.obsp["connectivities"].copy()
    first = ours(adata, maxiter=30)[0].obsm["X_umap"].copy()
    np.testing.assert_array_equal(ours(adata, maxiter=30)[0].obsm["X_umap"], first)
    assert not np.array_equal(ours(adata, maxiter=30, random_state=1)[0].obsm["X_umap"], first)
    np.testing.assert_array_equal(adata.obsp["connectivities"].data, before.data)


def test_a_graph_by_another_name_is_laid_out():
    adata = with_graph(strip(40), "other")
    assert ours(adata, maxiter=5, neighbors_key="other")[1].how == "out of memory"
    with pytest.raises(ValueError, match=r"Did not find .uns\['neighbors'\]"):
        ours(adata)


def test_layouts_begin_where_paga_puts_groups():
    adata = with_graph(strip(60))
    adata.obs["part"] = pd.Categorical([f"p{3 * i // 60}" for i in range(60)])
    places = np.array([[0.0, 0], [50, 0], [100, 0]])
    coarse = sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1.0, 0]]))
    adata.uns["paga"] = {"pos": places, "groups": "part", "connectivities": coarse}
    found, call = ours(adata, init_pos="paga", maxiter=0)
    assert call.how == "out of memory"
    means = [found.obsm["X_umap"][adata.obs["part"] == name, 0].mean() for name in ("p0", "p1", "p2")]
    assert means[0] < means[1] < means[2]


def test_cells_that_are_all_the_same_have_a_layout():
    adata = ad.AnnData(np.ones((500, 3), dtype=np.float32))
    adata.obsm["X_pca"] = np.ones((500, 5), dtype=np.float32)
    settings.graph = "fast"
    sc.pp.neighbors(adata, use_rep="X_pca")
    found, call = ours(adata)
    assert call.how == "out of memory"
    assert np.isfinite(found.obsm["X_umap"]).all()


def test_many_components_are_placed_by_their_centroids():
    found, call = ours(with_graph(in_parts(30, 30, 30, 30, 30, 30)), maxiter=5)
    assert call.how == "out of memory"
    assert np.isfinite(found.obsm["X_umap"]).all()


def one_way(adata):
    adata.obsp["connectivities"] = sparse.triu(adata.obsp["connectivities"], format="csr")


def by_columns(adata):
    adata.obsp["connectivities"] = adata.obsp["connectivities"].tocsc()


@pytest.mark.parametrize(
    "before, arguments, said",
    [
        (one_way, {}, "not the same in both directions"),
        (by_columns, {}, "no CSR matrix"),
        (None, {"init_pos": "pca"}, "`init_pos` is neither"),
    ],
)
def test_what_is_not_covered_is_scanpy_s_and_the_report_says_so(before, arguments, said):
    memory, fast = with_graph(strip(40)), with_graph(strip(40))
    for adata in (memory, fast):
        if before is not None:
            before(adata)
    expected = theirs(memory, maxiter=5, **arguments)
    found, call = ours(fast, maxiter=5, **arguments)
    assert call.how == "scanpy as it is"
    assert said in call.reason
    np.testing.assert_array_equal(found.obsm["X_umap"], expected.obsm["X_umap"])


def test_neither_umap_learn_nor_pynndescent_is_imported():
    code = """
import sys, scanpy as sc, scanpy_oom
from tests.overrides.tl.test_umap import with_graph
from tests.embedding.graphs import strip
scanpy_oom.settings.graph = "fast"
adata = with_graph(strip(40))
sc.tl.umap(adata, maxiter=5)
print("X_umap" in adata.obsm, {"umap", "pynndescent"} & sys.modules.keys())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[-2] == "True set()"
