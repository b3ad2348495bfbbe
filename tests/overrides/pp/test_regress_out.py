from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from statsmodels.tools.sm_exceptions import MissingDataError

from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same_anndata, assert_same_error, assert_same_outcome, passes_of
from ...matrices import annotated, as_held, counts, dense, pair
from .strategies import DTYPES, FORMATS, expression

pytestmark = pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")

KEYS = ["u", ["u", "v"], ["u", "flag"], ["flag", "one"], "batch", "kind", "text", "partly"]
SINGLE = 2e-6
"""Results of single precision: their steps relative to the largest value, and scanpy's means of groups."""


def prepared(adata):
    i = np.arange(adata.n_obs)
    adata.obs["u"] = np.linspace(0, 1, adata.n_obs) ** 2
    adata.obs["v"] = np.sin(i)
    adata.obs["flag"] = i % 2
    adata.obs["one"] = 1
    adata.obs["text"] = np.where(i % 3 == 0, "a", "b")
    adata.obs["partly"] = adata.obs["kind"].where(adata.obs["batch"] == "b0")
    adata.layers["counts"] = adata.X.copy()


def with_constant_genes(n_obs, n_vars, dtype, kind):
    x = counts(n_obs, n_vars, dtype=dtype, density=0.5).toarray()
    x[:, 5] = 3
    x[:, 7] = np.arange(n_obs) % 2  # which the batch explains entirely
    return x if kind == "dense" else sparse.csr_matrix(x).asformat(kind)


@pytest.mark.parametrize("keys", KEYS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_residuals_are_scanpy_s(dtype, kind, keys):
    x = with_constant_genes(60, 12, dtype, kind)
    call = lambda adata: sc.pp.regress_out(adata, keys)
    assert_same_outcome(call, x, before=prepared, x_rtol=SINGLE)


@pytest.mark.parametrize("arguments", [{"layer": "counts"}, {"copy": True}, {"n_jobs": 2}], ids=str)
@pytest.mark.parametrize("keys", ["u", "kind"])
def test_arguments_mean_what_they_mean_in_scanpy(keys, arguments):
    call = lambda adata: sc.pp.regress_out(adata, keys, **arguments)
    assert_same_outcome(call, counts(50, 10), before=prepared, x_rtol=SINGLE)


@settings(max_examples=60)
@given(
    x=expression(negative=True, fractions=True, huge=False),
    keys=st.sampled_from(["u", ["u", "v"], "batch", "kind", "flag"]),
)
def test_residuals_are_scanpy_s_on_any_matrix(x, keys):
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        prepared(adata)
    design = np.column_stack([np.ones(x.shape[0]), *(memory.obs[k] for k in np.ravel(keys) if k in {"u", "v", "flag"})])
    gram = design.T @ design
    assume(np.linalg.det(gram) == 0 or np.linalg.cond(gram) < 1e6)  # else rounding alone makes scanpy's coefficients
    sc.pp.regress_out(memory, keys)
    sc.pp.regress_out(lazy, keys)
    got = dense(lazy.X)
    assert got.dtype == memory.X.dtype
    np.testing.assert_allclose(got, memory.X, rtol=1e-5, atol=1e-5 * max(1, abs(dense(x)).max()))


@pytest.mark.parametrize("keys", ["one", ["u", "one"]], ids=str)
def test_infinite_values_are_refused_where_scanpy_refuses_them(keys):
    x = counts(50, 10, dtype="float64")
    x.data[3] = np.inf
    assert_same_outcome(lambda adata: sc.pp.regress_out(adata, keys), x, before=prepared)


def test_missing_values_of_a_key_leave_no_numbers_as_in_scanpy():
    def before(adata):
        prepared(adata)
        adata.obs.iloc[3, adata.obs.columns.get_loc("u")] = np.nan

    assert_same_outcome(lambda adata: sc.pp.regress_out(adata, "u"), counts(50, 10), before=before)


@pytest.mark.parametrize("keys", ["u", "kind"])
def test_one_pass_finds_the_coefficients_and_residuals_are_read_when_they_are_wanted(keys):
    _, lazy = pair(counts(300, 20, density=1))
    prepared(lazy)
    assert passes_of(lambda: sc.pp.regress_out(lazy, keys)) == 1
    assert isinstance(lazy.X, OOMMatrix)
    assert lazy.X.is_dense


def test_bytes_are_read_once(tmp_path):
    adata = annotated(counts(500, 40, density=0.6))
    prepared(adata)
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    lazy.X.sum()
    read = lazy.X.source.bytes_read
    sc.pp.regress_out(lazy, "u")
    sc.pp.scale(lazy)
    sc.pp.pca(lazy, n_comps=3)
    assert lazy.X.source.bytes_read == read  # what was inflated is at hand in a compact copy


def script(adata):
    prepared(adata)
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    sc.pp.regress_out(adata, ["u", "v"])
    sc.pp.scale(adata, max_value=2)
    adata = adata[::-1, 3:].copy()
    sc.pp.highly_variable_genes(adata, flavor="cell_ranger", n_top_genes=7)
    sc.pp.pca(adata, n_comps=4)
    sc.tl.rank_genes_groups(adata, "kind", method="t-test")
    return adata


@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_what_follows_works_on_the_residual(tmp_path):
    memory, lazy = (script(adata) for adata in pair(counts(90, 30, density=0.5)))
    np.testing.assert_allclose(dense(lazy.X), memory.X, atol=1e-5)
    np.testing.assert_array_equal(lazy.var["highly_variable"], memory.var["highly_variable"])
    np.testing.assert_allclose(lazy.obsm["X_pca"], memory.obsm["X_pca"], atol=1e-4)
    names = [adata.uns["rank_genes_groups"]["names"] for adata in (memory, lazy)]
    np.testing.assert_array_equal(*names)
    sc.pp.regress_out(lazy, "batch")
    sc.pp.regress_out(memory, "batch")
    np.testing.assert_allclose(dense(lazy.X), memory.X, atol=1e-5)
    lazy = lazy[np.sort(lazy.obs_names)]  # the order of the file
    lazy.to_memory().write_h5ad(tmp_path / "a.h5ad")
    assert isinstance(ad.read_h5ad(tmp_path / "a.h5ad").X, np.ndarray)


def test_a_residual_is_written_block_by_block(tmp_path):
    memory, lazy = pair(counts(90, 30))
    for adata in (memory, lazy):
        prepared(adata)
        sc.pp.regress_out(adata, "u")
    lazy.write_h5ad(tmp_path / "a.h5ad")
    written = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_allclose(written.X, memory.X, atol=1e-5)
    assert written.X.dtype == memory.X.dtype


def test_a_view_becomes_an_object_of_its_own():
    memory, lazy = pair(counts(60, 12))
    views = []
    for adata in (memory, lazy):
        prepared(adata)
        view = adata[::2, 1:]
        sc.pp.regress_out(view, "u")
        assert not view.is_view
        views.append(view)
    assert_same_anndata(*views, x_rtol=SINGLE)
    assert_same_anndata(memory, lazy)


@pytest.mark.parametrize(
    "keys, error", [(["kind", "u"], ValueError), ("none", KeyError), (["u", "none"], KeyError)], ids=str
)
def test_keys_that_do_not_work_are_errors_that_change_nothing(keys, error):
    memory, lazy = pair(counts(20, 8))
    for adata in (memory, lazy):
        prepared(adata)
        adata.obs["text"] = adata.obs["text"].astype("category")  # as scanpy makes it before it looks at the keys
    assert_same_error(lambda adata: sc.pp.regress_out(adata, keys), memory, lazy, error)


@pytest.mark.skipif(SCANPY_1_13, reason="scanpy 1.13 regresses in processes of its own, whose warnings are lost")
@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("keys", [["one"], ["size", "size"], ["size", "twice"], ["size"], "label", "same"], ids=str)
def test_variables_that_depend_on_each_other_are_warned_of_as_in_memory(keys, kind):
    x = counts(20, 12)
    given = []
    for adata in pair(x if kind == "csr" else x.toarray()):
        adata.obs["one"], adata.obs["size"] = 1.0, np.arange(20.0)
        adata.obs["twice"] = 2 * adata.obs["size"]
        adata.obs["label"] = pd.Categorical(["a"] * 9 + ["b"] * 11)
        adata.obs["same"] = pd.Categorical(["a"] * 20)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sc.pp.regress_out(adata, keys)
        given.append({(w.category, str(w.message)) for w in caught})
    assert given[1] == given[0]


@pytest.mark.parametrize("empty", [(slice(0, 0), slice(None)), (slice(None), slice(0, 0))], ids=["cells", "genes"])
@pytest.mark.parametrize("keys", ["score", "kind"])
def test_where_there_are_no_values_it_is_scanpy_that_is_asked(keys, empty):
    outcomes = []
    for adata in pair(counts(12, 4)):
        adata.obs["score"] = np.arange(12.0)
        part = adata[empty].copy()
        try:
            sc.pp.regress_out(part, keys, n_jobs=1)
        except Exception as error:  # noqa: BLE001
            outcomes.append((type(error), str(error)))
        else:
            outcomes.append((part.X.dtype, dense(part.X).shape))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("keys", ["score", "kind"])
def test_half_precision_is_left_to_scanpy_which_compiles_nothing_for_it(keys):
    memory, lazy = pair(counts(12, 4).toarray().astype(np.float16))
    for adata in (memory, lazy):
        adata.obs["score"] = np.arange(12.0)
    assert_same_error(lambda a: sc.pp.regress_out(a, keys, n_jobs=1), memory, lazy, NotImplementedError)


@pytest.mark.parametrize("form", as_held)
def test_infinite_means_of_groups_are_refused_as_in_memory(form):
    x = counts(20, 6).toarray()
    x[3, 1] = np.inf
    memory, lazy = pair(as_held[form](sparse.csr_matrix(x)))
    assert_same_error(lambda a: sc.pp.regress_out(a, "kind"), memory, lazy, MissingDataError)
