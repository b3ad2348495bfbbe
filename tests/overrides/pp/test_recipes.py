from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import scanpy_oom
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca

from ...comparison import assert_same_anndata, assert_same_error, assert_same_log, assert_same_outcome, passes_of
from ...matrices import pair
from .strategies import FORMATS

mpl.use("agg")
from matplotlib import pyplot as plt


def cells(n_obs: int = 150, n_vars: int = 300, dtype: str = "float32") -> np.ndarray:
    """Counts of two types of cells, as an array; a few genes make up much of some cells."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 1.0, (2, n_vars))[rng.integers(2, size=n_obs)] * rng.uniform(0.5, 2, (n_obs, 1))
    rates[::7, :3] *= 100
    x = rng.poisson(rates)
    x[:, -1] = 1
    return x.astype(dtype)


def assert_same_recipe(memory, lazy):
    """Assert that all is alike; components may have either sign."""
    want, got = memory.obsm.pop("X_pca"), lazy.obsm.pop("X_pca")
    assert got.dtype == want.dtype
    signs = np.sign((want * got).sum(axis=0))
    np.testing.assert_allclose(got * signs, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    assert isinstance(lazy.X, OOMMatrix)
    assert_same_anndata(memory, lazy, x_rtol=1e-6)


WEINREB = [
    {},
    {"log": False},
    {"mean_threshold": 0.3, "cv_threshold": 1, "n_pcs": 7},
    {"cv_threshold": 0.5, "n_pcs": 5, "svd_solver": "arpack", "random_state": 3},
]


@pytest.mark.parametrize("arguments", WEINREB, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_the_recipe_of_weinreb_is_scanpy_s(arguments, dtype):
    arguments = {"n_pcs": 4, **arguments}
    memory, lazy = pair(cells(dtype=dtype))
    for adata in (memory, lazy):
        assert sc.pp.recipe_weinreb17(adata, **arguments) is None
    assert 0 < lazy.n_vars < 300
    assert_same_recipe(memory, lazy)


def test_the_recipe_of_weinreb_is_scanpy_s_by_way_of_the_gram_matrix(monkeypatch):
    monkeypatch.setattr(_pca, "SMALL", 0)
    memory, lazy = pair(cells())
    sc.pp.recipe_weinreb17(memory, n_pcs=3, svd_solver="full")
    # totals, genes that are much of a cell, totals of the others, moments; Gram matrix, projection
    assert passes_of(lambda: sc.pp.recipe_weinreb17(lazy, n_pcs=3, svd_solver="full")) == 6
    assert_same_recipe(memory, lazy)


def test_the_recipe_of_weinreb_may_leave_what_it_was_given():
    memory, lazy = pair(cells())
    before = lazy.copy()
    want, got = (sc.pp.recipe_weinreb17(adata, n_pcs=4, copy=True) for adata in (memory, lazy))
    assert_same_recipe(want, got)
    assert_same_anndata(before, lazy)


@pytest.mark.filterwarnings("ignore")
def test_the_recipe_of_weinreb_makes_a_view_an_object_of_its_own():
    memory, lazy = pair(cells())
    views = memory[::-1][:120], lazy[::-1][:120]
    for view in views:
        sc.pp.recipe_weinreb17(view, n_pcs=4)
    assert_same_recipe(*views)
    assert_same_anndata(*pair(cells()))


def test_the_recipe_of_weinreb_refuses_sparse_matrices_at_once(monkeypatch):
    memory, lazy = pair(sparse.csr_matrix(cells()))
    monkeypatch.setattr(scanpy_oom.settings, "_memory_limit", lazy.X.nbytes_in_memory // 2)
    with pytest.raises(ValueError, match="does not support sparse"):
        sc.pp.recipe_weinreb17(lazy)
    monkeypatch.undo()
    assert_same_error(sc.pp.recipe_weinreb17, memory, lazy, ValueError)


def test_the_recipe_of_weinreb_refuses_cells_without_counts():
    x = cells()
    x[5] = 0
    _, lazy = pair(x)
    before = lazy.copy()
    with pytest.raises(
        ValueError, match=r"1 cells cannot be normalized, the first of them at position 5\..*Remove these cells first"
    ):
        sc.pp.recipe_weinreb17(lazy)
    assert_same_anndata(before, lazy)


def test_the_log_of_the_recipe_of_weinreb_is_scanpy_s():
    assert "n_comps=4" in assert_same_log(lambda adata: sc.pp.recipe_weinreb17(adata, n_pcs=4), *pair(cells()))


ZHENG = [{}, {"log": False}, {"n_top_genes": 300}, {"copy": True}, {"plot": True}]

SEURAT = [{}, {"log": False}, {"copy": True}, {"plot": True}]


def of_form(kind: str, seed: int = 0, n_obs: int = 60, n_vars: int = 420) -> np.ndarray | sparse.spmatrix:
    """Counts of genes of which cells have more or less than 200."""
    rng = np.random.default_rng(seed)
    x = rng.poisson(rng.gamma(1.0, 1.2, n_vars) * rng.uniform(0.4, 2.0, (n_obs, 1))).astype(np.float32)
    x[:, :2] = 0
    return x if kind == "dense" else sparse.csr_matrix(x).asformat(kind)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("recipe", "arguments"),
    [*(("zheng17", {"n_top_genes": 40, **a}) for a in ZHENG), *(("seurat", a) for a in SEURAT)],
    ids=str,
)
def test_recipes_that_are_scanpy_s_own_give_what_they_give(kind, recipe, arguments):
    memory, lazy = pair(of_form(kind))
    want, got = (getattr(sc.pp, f"recipe_{recipe}")(adata, **arguments) for adata in (memory, lazy))
    plt.close("all")
    for one, other in ((memory, lazy), (want, got)):
        if one is not None:
            assert one.n_vars > 0
            assert isinstance(other.X, OOMMatrix)
            assert_same_anndata(one, other, x_rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(FORMATS), n_top_genes=st.integers(2, 60), log=st.booleans())
def test_the_recipe_of_zheng_is_scanpy_s_of_any_counts(seed, kind, n_top_genes, log):
    call = lambda adata: sc.pp.recipe_zheng17(adata, n_top_genes=n_top_genes, log=log)
    assert_same_outcome(call, of_form(kind, seed, 40, 80), x_rtol=1e-5)
