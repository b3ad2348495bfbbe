from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ...comparison import (
    assert_same,
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ...matrices import counts, pair
from .strategies import FORMATS

FLAVORS = ["seurat_v3", "seurat_v3_paper"]
ARGUMENTS = [
    {},
    {"n_top_genes": 10},
    {"n_top_genes": 10, "batch_key": "batch"},
    {"n_top_genes": 10, "batch_key": "kind", "subset": True},
    {"n_top_genes": 10, "batch_key": "text"},
    {"n_top_genes": 10, "batch_key": "number"},
    {"n_top_genes": 10, "span": 0.6},
    {"n_top_genes": 10, "check_values": False},
    {"n_top_genes": 10, "layer": "counts"},
    {"n_top_genes": 10, "inplace": False},
    {"n_top_genes": 10, "inplace": False, "subset": True, "batch_key": "batch"},
    {"n_top_genes": 10, "min_mean": 3, "max_disp": 2},
]


def prepared(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.obs["text"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")
    adata.obs["number"] = np.arange(adata.n_obs) % 2


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_genes_and_their_ranks_are_scanpy_s_for_all_arguments(arguments, flavor):
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor=flavor, **arguments)
    assert_same_outcome(call, counts(80, 120), before=prepared, rtol=1e-9)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_ranks_are_scanpy_s_for_every_dtype_and_format(dtype, kind, batch_key):
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.gamma(0.5, 2, 500), (150, 500))  # many genes of equal counts: ties
    x = sparse.csr_matrix(x.astype(dtype))
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=300, batch_key=batch_key, span=0.8)
    ranks = [adata.var["highly_variable_rank"].to_numpy() for adata in (memory, lazy)]
    np.testing.assert_array_equal(*ranks)
    assert_same_anndata(memory, lazy, rtol=1e-9)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.1, 0.5, 1.0]),
    kind=st.sampled_from(FORMATS),
    batch_key=st.sampled_from([None, "batch", "kind"]),
    huge=st.booleans(),
)
def test_genes_are_scanpy_s_on_any_matrix_of_counts(seed, density, kind, batch_key, huge):
    x = counts(40, 60, seed=seed, density=density)
    if huge:
        x.data[::7] *= 30_001
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=9, batch_key=batch_key)
    assert_same_outcome(call, x, rtol=1e-5)


def test_two_passes_for_any_number_of_batches():
    _, lazy = pair(counts(300, 80))
    lazy.obs["many"] = (np.arange(300) % 6).astype(str)
    for key in (None, "many"):
        call = lambda k=key: sc.pp.highly_variable_genes(lazy, flavor="seurat_v3", n_top_genes=9, batch_key=k, span=0.9)
        assert passes_of(call) == 2


def test_moments_of_genes_are_kept():
    _, lazy = pair(counts(60, 80))
    sc.pp.highly_variable_genes(lazy, flavor="seurat_v3", n_top_genes=9)
    assert passes_of(lambda: sc.pp.filter_genes(lazy, min_cells=2)) == 0


def test_a_view_is_annotated_as_scanpy_does_it():
    memory, lazy = (adata[::2, ::-1] for adata in pair(counts(80, 60)))
    for adata in (memory, lazy):
        sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=9)
    assert_same(memory.var, lazy.var, rtol=1e-9)
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.parametrize("change", ["halves", "negative"])
def test_values_that_are_no_counts_are_warned_of(change):
    x = counts(60, 80)
    x.data[0] = 0.5 if change == "halves" else -1
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=9)
    (text,) = assert_same_warnings(call, *pair(x))
    assert "expects raw count data" in text


def test_a_log_is_scanpy_s():
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=9)
    assert "highly_variable_rank" in assert_same_log(call, *pair(counts(60, 80)))


def test_an_unknown_batch_key_is_an_error_that_changes_nothing():
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=9, batch_key="none")
    assert_same_error(call, *pair(counts(60, 80)), KeyError)
