from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom import settings as oom_settings
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix

from ....comparison import (
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ....matrices import counts, dense, pair
from ...pp.strategies import FORMATS, expression
from .test_highly_variable_genes import full, hvg

xp = sc.experimental.pp
ARGUMENTS = [
    {},
    {"theta": 1},
    {"theta": 0.5, "clip": 2},
    {"clip": 2.5},
    {"clip": np.float32(2.5)},
    {"clip": 0},
    {"check_values": False},
    {"layer": "counts"},
    {"inplace": False},
    {"inplace": False, "layer": "counts", "clip": 1.0},
    {"copy": True},
]


def prepared(adata):
    adata.layers["counts"] = adata.X.copy()


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_residuals_are_scanpy_s_to_the_last_bit_for_all_arguments(arguments):
    assert_same_outcome(lambda adata: xp.normalize_pearson_residuals(adata, **arguments), full(), before=prepared)


@settings(max_examples=60)
@given(
    x=expression(fractions=True, negative=True),
    theta=st.sampled_from([0.1, 100]),
    clip=st.sampled_from([None, 0.5, 3]),
)
def test_residuals_are_scanpy_s_on_any_matrix(x, theta, clip):
    call = lambda adata: xp.normalize_pearson_residuals(adata, theta=theta, clip=clip)
    # sums of parts of one are rounded differently in single precision
    assert_same_outcome(call, x, x_rtol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_subset_of_residuals_is_that_of_all(kind):
    x = full().toarray() if kind == "dense" else full().asformat(kind)
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        xp.normalize_pearson_residuals(adata)
    assert isinstance(lazy.X, OOMMatrix)
    np.testing.assert_array_equal(dense(lazy[5:40:3, ::-2].X), dense(memory[5:40:3, ::-2].X))
    np.testing.assert_allclose(lazy.X.sum(axis=0), memory.X.sum(axis=0), rtol=1e-9, atol=1e-9)


def test_no_residual_is_computed_before_it_is_read():
    _, lazy = pair(full())
    assert passes_of(lambda: xp.normalize_pearson_residuals(lazy, inplace=False)) == 1
    assert passes_of(lambda: xp.normalize_pearson_residuals(lazy, inplace=False)) == 1  # for the values
    assert passes_of(lambda: xp.normalize_pearson_residuals(lazy, check_values=False)) == 0


def test_a_view_becomes_an_anndata_of_its_own():
    memory, lazy = (adata[::2, ::-1] for adata in pair(full()))
    for adata in (memory, lazy):
        xp.normalize_pearson_residuals(adata)
    assert_same_anndata(memory, lazy)


def test_values_that_are_no_counts_are_warned_of():
    x = full()
    x.data[0] = 0.5
    (text,) = assert_same_warnings(xp.normalize_pearson_residuals, *pair(x[:, np.flatnonzero(x.sum(axis=0).A1)]))
    assert "expects raw count data" in text


def test_a_log_is_scanpy_s():
    assert "Pearson residuals on adata.X" in assert_same_log(xp.normalize_pearson_residuals, *pair(full()))


@pytest.mark.parametrize("arguments", [{"theta": 0}, {"clip": -1}, {"copy": True, "inplace": False}], ids=str)
def test_bad_arguments_are_scanpy_s_errors_and_change_nothing(arguments):
    call = lambda adata: xp.normalize_pearson_residuals(adata, **arguments)
    assert_same_error(call, *pair(full()), ValueError)


def kept(n_obs=60, n_vars=40, **kwargs):
    """Counts of which no cell and no gene is empty: PCA takes no NaN."""
    x = full(n_obs, n_vars, **kwargs)
    return x[:, np.flatnonzero(x.sum(axis=0).A1)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"mask_var": None},
        {"mask_var": "mt"},
        {"inplace": False},
        {"theta": 10, "clip": 3.0, "random_state": 3},
        {"kwargs_pca": {"svd_solver": "arpack"}},
        {"check_values": False, "n_comps": None, "mask_var": None},
    ],
    ids=str,
)
def test_components_of_residuals_are_scanpy_s(arguments):
    call = lambda adata: xp.normalize_pearson_residuals_pca(adata, **{"n_comps": 4, **arguments})
    assert_same_outcome(call, kept(), before=lambda adata: hvg(adata, n_top_genes=12), rtol=1e-6, x_rtol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"batch_key": "batch"}, {"inplace": False}, {"inplace": False, "batch_key": "kind"}, {"theta": 5, "clip": 2}],
    ids=str,
)
def test_the_recipe_is_scanpy_s(arguments):
    call = lambda adata: xp.recipe_pearson_residuals(adata, **{"n_comps": 4, "n_top_genes": 12, **arguments})
    assert_same_outcome(call, kept(90, 40, density=0.6), rtol=1e-6, x_rtol=1e-6)


def test_the_recipe_logs_as_scanpy_does():
    call = lambda adata: xp.recipe_pearson_residuals(adata, n_comps=4, n_top_genes=12)
    assert "computing PCA" in assert_same_log(call, *pair(kept(density=0.7)))


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("normalize_pearson_residuals", {}),
        ("normalize_pearson_residuals_pca", {"n_comps": 4}),
        ("recipe_pearson_residuals", {"n_comps": 4, "n_top_genes": 12}),
    ],
)
def test_what_is_planned_is_what_is_done(name, keywords):
    _, lazy = pair(kept(density=0.7))
    planned = len(lazy.oom.explain(f"experimental.pp.{name}", **keywords).passes)
    assert planned == passes_of(lambda: getattr(xp, name)(lazy, **keywords))


@pytest.mark.parametrize("name", ["normalize_pearson_residuals_pca", "recipe_pearson_residuals"])
def test_a_data_frame_beyond_the_limit_is_refused_before_anything_is_read_or_changed(name, monkeypatch):
    _, lazy = pair(counts(3000, 1000))
    before = lazy.copy()
    passes = pass_log.totals().passes
    with monkeypatch.context() as patch:
        patch.setattr(oom_settings, "_memory_limit", 20_000_000)
        with pytest.raises(MemoryBudgetExceeded, match="inplace=False"):
            getattr(xp, name)(lazy)
    assert pass_log.totals().passes == passes
    assert_same_anndata(before, lazy)
