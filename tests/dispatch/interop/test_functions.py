"""Scanpy's functions take objects of the package anndataoom."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom import OOMMatrix
from scanpy_oom.engine.runtime import pass_log

from ...comparison import assert_same_anndata
from ...matrices import dense
from .examples import N_OBS, ROWS, listing

anndataoom = pytest.importorskip("anndataoom")


def pipeline(adata) -> None:
    adata.var["mt"] = np.arange(adata.n_vars) % 4 == 0
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, inplace=True)
    sc.pp.filter_cells(adata, min_counts=20)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=9)
    sc.pp.scale(adata, layer="half")
    sc.pp.pca(adata, n_comps=4)
    sc.pp.neighbors(adata, n_neighbors=5, use_rep="X_pca")
    sc.tl.rank_genes_groups(adata, "kind", use_raw=False)


def test_a_script_gives_what_it_gives_in_memory(data, memory, path):
    before = listing(path.parent)
    pipeline(data)
    pipeline(memory)
    assert listing(path.parent) == before
    assert isinstance(data, anndataoom.AnnDataOOM)
    assert data.shape == memory.shape
    got = scanpy_oom.from_anndataoom(data)
    assert [step.split()[0] for step in map(str, got.X.chain.transforms)] == ["normalize_total", "log1p"]
    memory.uns["table"] = got.uns["table"]
    for name in ("obs", "var"):
        getattr(memory, name).index.name = f"{name}_names"  # as anndataoom names them
    memory.raw.var.index.name = got.raw.var.index.name
    memory.uns, got.uns = dict(sorted(memory.uns.items())), dict(sorted(got.uns.items()))
    for name in ("obsm", "varm", "obsp", "varp", "layers"):
        assert set(getattr(got, name)) == set(getattr(memory, name))
        setattr(memory, name, {key: getattr(memory, name)[key] for key in getattr(got, name) if key is not None})
    assert_same_anndata(memory, got, rtol=1e-5)


def test_what_was_made_of_it_is_used_again(data):
    sc.pp.calculate_qc_metrics(data, percent_top=None, inplace=True)
    passes = pass_log.totals().passes
    sc.pp.filter_genes(data, min_cells=1)
    assert pass_log.totals().passes == passes


def test_anndataoom_goes_on_with_what_scanpy_made(data, memory):
    sc.pp.normalize_total(data, target_sum=100)
    anndataoom.chunked_log1p(data)
    sc.pp.normalize_total(memory, target_sum=100)
    sc.pp.log1p(memory)
    np.testing.assert_allclose(dense(data.X[0:N_OBS]), dense(memory.X), rtol=1e-6)
    np.testing.assert_allclose(dense(scanpy_oom.from_anndataoom(data[ROWS]).X), dense(memory.X)[ROWS], rtol=1e-6)
    np.testing.assert_allclose(data.obs_vector("gene7"), dense(memory.X)[:, 7], rtol=1e-6)


def test_raw_and_layers_follow_the_rows(data, memory):
    copy = data.copy()
    for adata in (data, memory):
        sc.pp.filter_cells(adata, min_counts=20)
    assert data.shape == memory.shape != copy.shape
    np.testing.assert_array_equal(dense(data.raw.X[:]), dense(memory.raw.X))
    np.testing.assert_array_equal(dense(data.layers["half"][:]), dense(memory.layers["half"]))
    assert copy.layers["half"].shape == copy.shape
    rows = np.arange(7)
    np.testing.assert_array_equal(dense(data[rows].raw.X[:]), dense(memory.raw.X)[rows])


def test_a_layer_is_worked_on_alone(data):
    x, raw = data.X, data.raw
    sc.pp.log1p(data, layer="half")
    assert data.X is x
    assert data.raw is raw
    np.testing.assert_array_equal(dense(data.layers["half"][:]), np.log1p(dense(x[:]) * np.float32(0.5)))


def test_a_column_that_was_cached_is_not_taken_for_a_new_one(data, memory):
    data.cache_X()
    sc.pp.log1p(data)
    np.testing.assert_array_equal(data.obs_vector("gene7"), np.log1p(dense(memory.X))[:, 7])


def test_a_copy_is_an_anndata(data):
    before = data.X._state
    copy = sc.pp.log1p(data, copy=True)
    assert isinstance(copy, ad.AnnData)
    assert isinstance(copy.X, OOMMatrix)
    assert data.X._state is before
    assert "log1p" not in data.uns


def test_what_a_function_returns_is_returned(data, memory):
    result = sc.pp.normalize_total(data, target_sum=100, inplace=False)
    want = sc.pp.normalize_total(memory, target_sum=100, inplace=False)
    assert isinstance(result["X"], OOMMatrix)
    np.testing.assert_allclose(dense(result["X"]), dense(want["X"]), rtol=1e-6)


def test_by_name_it_is_served_too(data):
    sc.pp.log1p(data=data)
    assert "log1p" in data.uns


def test_a_call_that_fails_changes_nothing(data):
    before = (data.X, data.obs, data.var, data.uns, data.obsm, data.layers, data.raw)
    with pytest.raises(KeyError, match="missing"):
        sc.pp.log1p(data, layer="missing")
    with pytest.raises(ValueError, match="Only provide one"):
        sc.pp.filter_cells(data, min_counts=1, min_genes=1)
    after = (data.X, data.obs, data.var, data.uns, data.obsm, data.layers, data.raw)
    assert all(now is then for now, then in zip(after, before, strict=True))


def test_functions_that_are_not_overridden_get_it_as_it_is(data):
    frame = sc.get.obs_df(data, ["gene7", "kind"])
    np.testing.assert_array_equal(frame["gene7"], dense(data.X[:])[:, 7])
