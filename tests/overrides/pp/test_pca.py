from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import ArpackError

from scanpy_oom._scanpy import SCANPY_1_12, SCANPY_1_13
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca
from scanpy_oom.overrides.pp._pca_solvers import estimator_solver

from ...comparison import (
    assert_same,
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ...matrices import annotated, counts, dense, oom, pair
from .strategies import FORMATS, expression

CLOSE = 2e-4
"""scikit-learn iterates in single precision on single-precision data: its components are good to some 1e-5."""

ARGUMENTS = [
    {},
    {"n_comps": 3},
    {"n_comps": 5, "key_added": "mine"},
    {"n_comps": 5, "copy": True},
    {"n_comps": 5, "dtype": "float64"},
    {"n_comps": 5, "layer": "logarithms"},
    {"n_comps": 5, "zero_center": False, "svd_solver": "arpack"},
    {"n_comps": 5, "svd_solver": "arpack", "random_state": 7},
    {"n_comps": 5, "svd_solver": "arpack", "random_state": None},
    {"n_comps": 5, "mask_var": "mt"},
    {"n_comps": 5, "mask_var": np.arange(40) % 3 != 1},
    {"n_comps": 5, "mask_var": None},
    *([] if SCANPY_1_13 else [{"n_comps": 5, "use_highly_variable": wish} for wish in (True, False)]),
]


@pytest.fixture
def gram(monkeypatch):
    """Every matrix counts as large."""
    monkeypatch.setattr(_pca, "SMALL", 0)


@pytest.fixture
def streamed(monkeypatch, gram):
    """The Gram matrix is not held."""
    monkeypatch.setattr(_pca, "MOST_COLUMNS", 10)


def structured(n_obs=200, n_vars=40, dtype="float32"):
    """Counts of three programs of genes, with well separated components."""
    rng = np.random.default_rng(0)
    programs = rng.gamma(0.5, 2.0, (4, n_vars))
    activity = rng.dirichlet(np.full(4, 0.3), n_obs) * rng.gamma(5, 1, (n_obs, 1))
    return sparse.csr_matrix(rng.poisson(activity @ programs).astype(dtype))


def logarithms(adata):
    adata.layers["logarithms"] = sc.pp.log1p(adata, copy=True).X
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 2 == 0


@pytest.mark.parametrize("arguments", [a for a in ARGUMENTS if a.get("random_state", 0) is not None], ids=str)
def test_a_small_matrix_gives_scanpy_s_results_to_the_last_bit(arguments):
    assert_same_outcome(lambda a: sc.pp.pca(a, **arguments), structured(), before=logarithms, rtol=0)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_the_gram_matrix_gives_scanpy_s_results(gram, arguments):
    assert_same_outcome(lambda a: sc.pp.pca(a, **arguments), structured(), before=logarithms, rtol=CLOSE)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_streaming_passes_give_scanpy_s_results(streamed, arguments):
    assert_same_outcome(lambda a: sc.pp.pca(a, **arguments), structured(), before=logarithms, rtol=CLOSE)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
def test_results_have_scanpy_s_dtypes_for_every_dtype_and_format(gram, dtype, kind):
    x = structured(dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.pp.pca(a, n_comps=5), x, rtol=CLOSE if dtype == "float32" else 1e-8)


@pytest.mark.parametrize("solver", ["arpack", "full", "auto", "covariance_eigh", "tsqr"])
@pytest.mark.parametrize("route", ["small", "gram"])
@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_all_solvers_give_scanpy_s_results(monkeypatch, kind, route, solver):
    if route == "gram":
        monkeypatch.setattr(_pca, "SMALL", 0)
    x = structured()
    x = x if kind == "csr" else x.toarray()
    call = lambda a: sc.pp.pca(a, n_comps=5, svd_solver=solver)
    assert_same_outcome(call, x, rtol=0 if route == "small" else CLOSE)


@pytest.mark.parametrize("zero_center", [True, False])
@pytest.mark.parametrize("shape", [(200, 40), (60, 300)])
@pytest.mark.parametrize("solver", ["gram", "streamed"])
def test_the_randomized_solver_reproduces_scikit_learn_s(monkeypatch, solver, shape, zero_center):
    monkeypatch.setattr(_pca, "SMALL", 0)
    monkeypatch.setattr(_pca, "MOST_COLUMNS", 5000 if solver == "gram" else 10)
    x = structured(*shape, dtype="float64").toarray()  # scikit-learn randomizes centred matrices where they are dense
    call = lambda a: sc.pp.pca(a, n_comps=12, svd_solver="randomized", random_state=3, zero_center=zero_center)
    assert_same_outcome(call, x, rtol=1e-6)


def test_the_randomized_solver_reproduces_scikit_learn_s_in_single_precision(gram):
    call = lambda a: sc.pp.pca(a, n_comps=5, zero_center=False, random_state=3)
    assert_same_outcome(call, structured(), rtol=CLOSE)


@settings(max_examples=60)
@given(
    x=expression(dtypes=("float32", "float64"), huge=False, negative=True, fractions=True),
    zero_center=st.booleans(),
    small=st.booleans(),
    most_columns=st.sampled_from([1, 5000]),
)
def test_any_matrix_is_decomposed_as_by_singular_values(x, zero_center, small, most_columns):
    """Equal singular values leave components free: compared is what is not."""
    memory, lazy = pair(x)
    k = max(min(x.shape) - 1, 1)
    arguments = {"n_comps": k, "zero_center": zero_center, "svd_solver": "arpack"}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(_pca, "SMALL", 10**6 if small else 0)
        patch.setattr(_pca, "MOST_COLUMNS", most_columns)
        try:
            sc.pp.pca(memory, **arguments)
        except ValueError as error:
            with pytest.raises(type(error)):
                sc.pp.pca(lazy, **arguments)
            return
        except ArpackError:
            reject()  # nothing varies: there is nothing to start from
        sc.pp.pca(lazy, **arguments)
    values = dense(x).astype(float)
    values = values - values.mean(axis=0) if zero_center else values
    loadings, coordinates = lazy.varm["PCs"].astype(float), lazy.obsm["X_pca"].astype(float)
    all_singular = np.linalg.svd(values)[1]
    singular = all_singular[:k]
    scale = max(singular.max(), 1e-30)
    np.testing.assert_allclose(np.linalg.norm(coordinates, axis=0), singular, atol=1e-3 * scale)
    np.testing.assert_allclose(values @ loadings, coordinates, atol=1e-3 * scale)
    np.testing.assert_allclose(loadings.T @ loadings, np.eye(k), atol=1e-3)
    want, got = memory.uns["pca"], lazy.uns["pca"]
    assert_same(want["params"], got["params"], "params")
    if not zero_center and (np.diff(all_singular[: k + 1]) > -1e-3 * scale).any():
        return  # the variance of coordinates that are not centred depends on which components these are
    np.testing.assert_allclose(got["variance"], want["variance"], rtol=1e-3, atol=1e-3 * scale**2)
    if want["variance"].sum() > 1e-3 * scale**2:  # else what varies is rounded off
        assert_same(want["variance_ratio"], got["variance_ratio"], "variance_ratio", rtol=1e-3)


@pytest.mark.parametrize("max_value", [None, 1.0])
@pytest.mark.parametrize("route", ["gram", "streamed"])
@pytest.mark.parametrize("masked", [False, True])
def test_scaled_values_are_decomposed_as_in_memory(monkeypatch, masked, route, max_value):
    monkeypatch.setattr(_pca, "SMALL", 0)
    monkeypatch.setattr(_pca, "MOST_COLUMNS", 5000 if route == "gram" else 10)

    def before(adata):
        sc.pp.log1p(adata)
        # cells inside and outside of the mask have zeros of their own
        sc.pp.scale(adata, max_value=max_value, mask_obs=np.arange(adata.n_obs) % 3 != 1 if masked else None)

    x, rtol = (
        structured(dtype="float64"),
        1e-4 if route == "gram" else 1e-6,
    )  # dense rows are multiplied in single precision
    assert_same_outcome(lambda a: sc.pp.pca(a, n_comps=5), x, before=before, rtol=rtol, x_rtol=1e-12)


@pytest.mark.parametrize("route", ["small", "gram"])
def test_it_takes_a_matrix_and_may_return_all(monkeypatch, route):
    if route == "gram":
        monkeypatch.setattr(_pca, "SMALL", 0)
    x = structured()
    for arguments in ({}, {"return_info": True}, {"return_info": True, "dtype": "float64"}):
        want, got = (sc.pp.pca(matrix, n_comps=5, **arguments) for matrix in (x, oom(x)))
        assert_same(want, got, rtol=0 if route == "small" else CLOSE)


@pytest.mark.parametrize("arguments", [{}, {"mask_var": "mt"}, {"key_added": "mine", "copy": True}], ids=str)
def test_chunks_are_decomposed_incrementally_as_in_scanpy(arguments):
    call = lambda a: sc.pp.pca(a, n_comps=5, chunked=True, chunk_size=50, **arguments)
    assert_same_outcome(call, structured(), rtol=0)


@pytest.mark.skipif(not SCANPY_1_12, reason="an argument of scanpy 1.12")
def test_entries_of_obsm_are_left_to_scanpy():
    memory, lazy = pair(structured())
    for adata in (memory, lazy):
        adata.obsm["place"] = structured().toarray()
    assert passes_of(lambda: sc.pp.pca(lazy, n_comps=5, obsm="place")) == 0
    sc.pp.pca(memory, n_comps=5, obsm="place")
    assert_same_anndata(memory, lazy)


@pytest.mark.parametrize("zero_center", [True, False])
def test_it_takes_one_pass_if_small_and_two_with_the_gram_matrix(monkeypatch, zero_center):
    lazy = pair(structured())[1]
    call = lambda: sc.pp.pca(lazy, n_comps=5, svd_solver="arpack", zero_center=zero_center)
    assert passes_of(call) == 1
    monkeypatch.setattr(_pca, "SMALL", 0)
    assert passes_of(call) == 2
    sc.pp.scale(lazy, max_value=2)
    assert passes_of(call) == 2


def test_a_view_is_decomposed_as_in_memory(gram):
    memory, lazy = pair(structured())
    views = [adata[::-2, 5:] for adata in (memory, lazy)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for view in views:
            sc.pp.pca(view, n_comps=5)
    assert_same_anndata(*views, rtol=CLOSE)
    assert isinstance(views[1].X, OOMMatrix)
    assert "X_pca" not in lazy.obsm


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"n_comps": 41}, ValueError),
        ({"n_comps": 40}, ValueError),
        ({"n_comps": 0}, ValueError),
        ({"mask_var": "absent"}, ValueError),
        ({"mask_var": np.ones(3, dtype=bool)}, ValueError),
        ({"use_highly_variable": True}, TypeError if SCANPY_1_13 else ValueError),
        ({"use_highly_variable": True, "mask_var": "mt"}, TypeError if SCANPY_1_13 else ValueError),
        ({"layer": "absent"}, KeyError),
        ({"layer": "absent", "chunked": True}, NotImplementedError),
        ({"n_pcs": 5}, TypeError),
        ({"random_state": "seed"}, ValueError),
    ],
    ids=str,
)
@pytest.mark.parametrize("route", ["small", "gram"])
@pytest.mark.filterwarnings("ignore:Argument `use_highly_variable`")
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(monkeypatch, route, arguments, error):
    if route == "gram":
        monkeypatch.setattr(_pca, "SMALL", 0)
    arguments = {"svd_solver": "arpack"} | arguments
    assert_same_error(lambda a: sc.pp.pca(a, **arguments), *pair(structured()), error)


@pytest.mark.parametrize(
    "arguments",
    [
        {"svd_solver": "randomized"},
        {"svd_solver": "unknown", "zero_center": False},
        *([] if SCANPY_1_13 else [{"use_highly_variable": False}]),
    ],
    ids=str,
)
@pytest.mark.parametrize("route", ["small", "gram"])
def test_it_warns_as_scanpy_does(monkeypatch, route, arguments):
    if route == "gram":
        monkeypatch.setattr(_pca, "SMALL", 0)
    assert assert_same_warnings(lambda a: sc.pp.pca(a, n_comps=5, **arguments), *pair(structured()))


def test_the_legacy_solver_is_left_to_scanpy():
    call = lambda a: sc.pp.pca(a, n_comps=3, svd_solver="lobpcg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same_outcome(call, structured(), rtol=CLOSE)
    with pytest.warns(FutureWarning, match="lobpcg"):
        call(pair(structured())[1])


@pytest.mark.parametrize("route", ["small", "gram"])
def test_what_it_does_is_logged_as_in_scanpy(monkeypatch, route):
    if route == "gram":
        monkeypatch.setattr(_pca, "SMALL", 0)
    call = lambda a: sc.pp.pca(a, n_comps=5, svd_solver="auto", zero_center=False)
    assert "computing PCA" in assert_same_log(call, *pair(structured()))


def test_more_genes_than_cells_and_one_component_are_no_exception(streamed):
    for x, k in ((structured(30, 100, "float64"), 20), (structured(200, 12, "float64"), 1)):
        assert_same_outcome(lambda a, k=k: sc.pp.pca(a, n_comps=k, svd_solver="arpack"), x, rtol=1e-6)


@pytest.mark.parametrize("route", ["gram", "streamed"])
def test_large_means_do_not_drown_what_varies(monkeypatch, route):
    monkeypatch.setattr(_pca, "SMALL", 0)
    monkeypatch.setattr(_pca, "MOST_COLUMNS", 5000 if route == "gram" else 10)
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.normal(size=(30, 6)))[0].T
    x = rng.normal(size=(500, 6)) @ ([[10], [6], [4], [2], [1], [0.6]] * components)
    assert_same_outcome(lambda a: sc.pp.pca(a, n_comps=6), x + 100, rtol=1e-4)


def tutorial(adata):
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=1000)
    adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.scale(adata, max_value=10)
    return adata


def test_all_components_of_real_counts_are_scanpy_s(pbmc3k, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        memory, lazy = tutorial(sc.read_h5ad(pbmc3k)), tutorial(sc.read_h5ad(pbmc3k, backed="oom"))
    pd.testing.assert_index_equal(lazy.var_names, memory.var_names)
    assert_same(memory.obs, lazy.obs)
    assert_same(memory.var, lazy.var)
    sc.pp.pca(memory, svd_solver="arpack")
    for small, least in ((10**9, 1 - 1e-12), (0, 0.9999)):
        monkeypatch.setattr(_pca, "SMALL", small)
        sc.pp.pca(lazy, svd_solver="arpack")
        for name, holders in (("X_pca", "obsm"), ("PCs", "varm")):
            a, b = (getattr(adata, holders)[name].astype(float) for adata in (memory, lazy))
            r = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
            assert len(r) == 50
            assert min(r) >= least
        assert_same(memory.uns, lazy.uns, "uns", rtol=CLOSE)
    exact = np.linalg.eigvalsh(np.cov(memory.X, rowvar=False))[:-51:-1]
    np.testing.assert_allclose(lazy.uns["pca"]["variance"], exact, rtol=1e-6)


@pytest.mark.parametrize("zero_center", [True, False])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity or a value too large")])
def test_values_that_are_no_numbers_are_refused_as_by_scikit_learn(value, what, zero_center, monkeypatch):
    monkeypatch.setattr(_pca, "SMALL", 0)
    x = counts(60, 12)
    x.data[5] = value
    with pytest.raises(ValueError, match=f"Input X contains {what}"):
        sc.pp.pca(annotated(oom(x)), n_comps=3, zero_center=zero_center, svd_solver="arpack")


@pytest.mark.parametrize("solver", [None, "arpack"])
@pytest.mark.parametrize("is_dense", [False, True])
def test_the_solver_that_needs_no_asking_is_the_one_that_scanpy_takes(solver, is_dense):
    from scanpy.preprocessing._pca import _handle_sklearn_args
    from sklearn.decomposition import PCA

    x = oom(dense(counts(20, 10)) if is_dense else counts(20, 10))
    assert estimator_solver(x, solver, zero_center=True) == _handle_sklearn_args(solver, PCA, sparse=not is_dense)


@pytest.mark.parametrize("kind", FORMATS)
def test_coordinates_of_reordered_cells_and_genes_are_scanpy_s_to_the_last_bit(kind):
    x = counts(60, 40)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    rng = np.random.default_rng(0)
    cells, genes = rng.permutation(60)[:50], rng.permutation(40)[:30]
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
    want, got = (adata[cells][:, genes].copy() for adata in (memory, lazy))
    for adata in (want, got):
        sc.pp.pca(adata, n_comps=5)
    np.testing.assert_array_equal(got.obsm["X_pca"], want.obsm["X_pca"])
