from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from scanpy_oom.matrix import OOMMatrix

from ...comparison import (
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ...matrices import counts, dense, pair
from .strategies import FORMATS

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ARGUMENTS = [
    {},
    {"key": "four"},
    {"key": "four", "covariates": ["u"]},
    {"covariates": ["kind"]},
    {"key": "four", "covariates": ["kind", "u", "number"]},
    {"inplace": False},
]


def prepared(adata):
    i = np.arange(adata.n_obs)
    adata.obs["u"] = np.linspace(0, 1, adata.n_obs) ** 2
    adata.obs["four"] = np.array(list("wxyz"))[i**2 % 7 % 4]
    adata.obs["number"] = i % 5
    adata.obs["partly"] = adata.obs["kind"].where(adata.obs["batch"] == "b0")
    sc.pp.log1p(adata)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_corrected_values_are_scanpy_s(dtype, kind, arguments):
    x = counts(90, 30, dtype=dtype, density=0.5)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda adata: sc.pp.combat(adata, **arguments), x, before=prepared, x_rtol=1e-8)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_obs=st.integers(12, 60),
    n_vars=st.integers(6, 20),
    density=st.sampled_from([0.3, 0.7, 1.0]),
    negative=st.booleans(),
    covariates=st.sampled_from([None, ["u"], ["u", "number"]]),
)
def test_corrected_values_are_scanpy_s_on_any_matrix(seed, n_obs, n_vars, density, negative, covariates):
    x = counts(n_obs, n_vars, seed=seed, density=density)
    if negative:
        x.data[::3] *= -0.25  # of which log1p is a number
    # of a batch in which no gene varies, or all do alike, rounding errors alone make scanpy's priors
    varying = [np.ptp(x.toarray()[start::2], axis=0) > 0 for start in (0, 1)]
    assume(min(v.sum() for v in varying) >= 3)
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        prepared(adata)
        sc.pp.combat(adata, covariates=covariates)
    largest = np.nanmax(np.abs(memory.X), initial=1)
    np.testing.assert_allclose(dense(lazy.X), memory.X, rtol=1e-7, atol=1e-7 * largest)


def test_two_passes_and_a_lazy_result():
    _, lazy = pair(counts(90, 30))
    prepared(lazy)
    assert passes_of(lambda: sc.pp.combat(lazy, covariates=["u"])) == 2
    assert isinstance(lazy.X, OOMMatrix)
    assert lazy.X.is_dense


def test_what_follows_works_on_the_corrected_matrix():
    memory, lazy = pair(counts(90, 30, density=0.5))
    for adata in (memory, lazy):
        prepared(adata)
        sc.pp.combat(adata)
        adata.X = adata.X.copy()  # pandas 3 lends scanpy an array that cannot be written to
        sc.pp.scale(adata)
        sc.pp.pca(adata, n_comps=4)
    np.testing.assert_allclose(dense(lazy.X), memory.X, atol=1e-8)
    np.testing.assert_allclose(lazy.obsm["X_pca"], memory.obsm["X_pca"], atol=1e-4)


def test_a_log_is_scanpy_s():
    memory, lazy = pair(counts(60, 12))
    for adata in (memory, lazy):
        prepared(adata)
    assert "Adjusting data" in assert_same_log(lambda adata: sc.pp.combat(adata, covariates=["u"]), memory, lazy)


def test_a_view_becomes_an_object_of_its_own():
    memory, lazy = pair(counts(60, 12))
    for adata in (memory, lazy):
        prepared(adata)
    before = lazy.X._state
    own, view = memory[::2, 1:].copy(), lazy[::2, 1:]
    sc.pp.combat(own)
    sc.pp.combat(view)
    assert_same_anndata(own, view, x_rtol=1e-8)
    assert lazy.X._state is before


@pytest.mark.parametrize(
    "arguments",
    [{"key": "none"}, {"covariates": ["none"]}, {"covariates": ["batch"]}, {"covariates": ["u", "u"]}],
    ids=str,
)
def test_keys_that_do_not_work_are_scanpy_s_errors_and_change_nothing(arguments):
    memory, lazy = pair(counts(20, 8))
    for adata in (memory, lazy):
        prepared(adata)
    assert_same_error(lambda adata: sc.pp.combat(adata, **arguments), memory, lazy, ValueError)


def test_cells_without_a_batch_are_left_to_scanpy():
    assert_same_outcome(lambda adata: sc.pp.combat(adata, key="partly"), counts(30, 8), before=prepared)


@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_a_batch_of_one_cell_is_refused_or_spoils_all_as_in_memory(kind):
    x = counts(20, 12)

    def with_one(adata):
        adata.obs["single"] = pd.Categorical(["a"] * 9 + ["b"] + ["c"] * 10)

    x = x if kind == "csr" else x.toarray()
    assert_same_outcome(lambda a: sc.pp.combat(a, "single"), x, before=with_one)


def combat_of_constants(adata):
    """Genes that are constant in a batch are divided by zero, of which NumPy warns in memory with scanpy 1.13."""
    with np.errstate(all="ignore"):
        sc.pp.combat(adata)


@pytest.mark.skipif(Version(version("anndata")) < Version("0.13rc1"), reason="it changes the whole by way of the view")
@pytest.mark.parametrize("call", [combat_of_constants, sc.pp.sqrt, lambda a: sc.pp.downsample_counts(a, 3)])
def test_a_view_is_warned_of_as_in_memory(call):
    memory, lazy = pair(counts(20, 12, density=0.9))
    views = [adata[::2, 3:] for adata in (memory, lazy)]  # without the constant gene
    assert any("initializing view as actual" in text for text in assert_same_warnings(call, *views))
