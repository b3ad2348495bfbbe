from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import scanpy_oom
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca, _scrublet, _scrublet_core

from ...comparison import assert_same, assert_same_anndata, assert_same_error, assert_same_log, passes_of
from ...matrices import annotated, dense, oom, pair
from .strategies import FORMATS, expression

ARGUMENTS = [
    {},
    {"batch_key": "batch"},
    {"copy": True},
    {"sim_doublet_ratio": 0.5, "expected_doublet_rate": 0.1, "stdev_doublet_rate": 0.05, "random_state": 7},
    {"synthetic_doublet_umi_subsampling": 0.5},
    {"knn_dist_metric": "cosine", "n_neighbors": 9},
    {"normalize_variance": False},
    {"mean_center": False},
    {"mean_center": False, "normalize_variance": False},
    {"log_transform": True, "n_prin_comps": 12},
    {"use_approx_neighbors": False},
    {"get_doublet_neighbor_parents": True},
    {"threshold": 0.2, "verbose": False},
]

SEED = "rng" if SCANPY_1_13 else "random_seed"


def cells(n_obs: int = 240, n_vars: int = 150, seed: int = 0) -> sparse.csr_matrix:
    """Counts of cells of three types, among them some doublets and one cell without counts."""
    rng = np.random.default_rng(seed)
    programs = rng.gamma(0.4, 2.0, (3, n_vars))
    kind = rng.integers(3, size=n_obs)
    rates = programs[kind]
    doublets = rng.random(n_obs) < 0.1
    rates[doublets] += programs[(kind[doublets] + 1) % 3]
    counts = rng.poisson(rates * rng.uniform(0.5, 1.5, (n_obs, 1)))
    counts[:, :3] = 0
    return sparse.csr_matrix(counts.astype(np.float32))


@pytest.fixture
def large(monkeypatch):
    """What is done with more cells than go to scanpy's own function."""
    monkeypatch.setattr(_scrublet, "SMALL", 0)
    monkeypatch.setattr(_pca, "SMALL", 0)
    monkeypatch.setattr(_scrublet_core, "AT_ONCE", 37)
    monkeypatch.setattr(_scrublet_core, "COORDINATES", np.dtype(np.float64))  # as scanpy's, of so few cells


def assert_nearly_the_same(memory, lazy):
    """Assert that scores are alike but where neighbours at the edge are as near as others, to rounding errors."""
    for want, got in (
        (memory.obs["doublet_score"], lazy.obs["doublet_score"]),
        (memory.uns["scrublet"]["doublet_scores_sim"], lazy.uns["scrublet"]["doublet_scores_sim"]),
    ):
        assert np.mean(~np.isclose(want, got, rtol=1e-6)) < 0.02
        np.testing.assert_allclose(got, want, atol=0.05)
    assert memory.obs["predicted_doublet"].dtype == lazy.obs["predicted_doublet"].dtype
    np.testing.assert_array_equal(memory.uns["scrublet"]["doublet_parents"], lazy.uns["scrublet"]["doublet_parents"])
    assert_same(memory.uns["scrublet"]["parameters"], lazy.uns["scrublet"]["parameters"])


FEW = {"sim_doublet_ratio": 0.4}
"""So few that none is made of one cell twice. Among points at one place scanpy's exact search may lose those that are
looked from, and scores then differ by one neighbour."""

SINGLE = [{"normalize_variance": False}, {"mean_center": False, "normalize_variance": False}]
"""With these scanpy embeds cells in single precision."""


def scrub(adata, **arguments):
    np.random.seed(0)
    return sc.pp.scrublet(adata, **arguments)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_scores_are_scanpy_s_to_the_last_bit(arguments):
    memory, lazy = pair(cells())
    want, got = scrub(memory, **arguments), scrub(lazy, **arguments)
    assert_same(want, got, rtol=0)
    assert_same_anndata(memory, lazy, rtol=0)
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("arguments", [a for a in ARGUMENTS if a not in SINGLE], ids=str)
def test_scores_of_many_cells_are_scanpy_s(arguments):
    memory, lazy = pair(cells())
    want, got = (scrub(adata, **{**FEW, **arguments}) for adata in (memory, lazy))
    assert_same(want, got)
    assert_same_anndata(memory, lazy)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("arguments", [*SINGLE, {}, {"log_transform": True}], ids=str)
def test_scores_in_single_precision_are_scanpy_s_but_for_neighbors_at_the_edge(arguments, monkeypatch):
    monkeypatch.setattr(_scrublet_core, "COORDINATES", np.dtype(np.float32))
    memory, lazy = pair(cells(600))
    for adata in (memory, lazy):
        scrub(adata, threshold=0.2, **FEW, **arguments)
    assert_nearly_the_same(memory, lazy)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float64", "int32", "uint16"])
def test_scores_from_matrices_of_any_form_are_scanpy_s(kind, dtype):
    x = cells().astype(dtype)
    memory, lazy = pair(x.toarray() if kind == "dense" else x.asformat(kind))
    for adata in (memory, lazy):
        scrub(adata, threshold=0.2)
    assert_same_anndata(memory, lazy)
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.filterwarnings("ignore")
def test_cells_that_are_filtered_out_have_no_score():
    x = cells().tolil()
    x[5] = 0
    memory, lazy = pair(x.tocsr())
    for adata in (memory, lazy):
        scrub(adata)
    assert lazy.obs["doublet_score"].isna().tolist() == (np.arange(240) == 5).tolist()
    assert_same_anndata(memory, lazy)


@pytest.mark.filterwarnings("ignore")
def test_views_become_objects_of_their_own():
    memory, lazy = (adata[::-1][:200] for adata in pair(cells()))
    for adata in (memory, lazy):
        scrub(adata)
    assert_same_anndata(memory, lazy)
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("on_disk", [(True, True), (True, False), (False, True)], ids=str)
def test_doublets_of_one_s_own_may_be_on_disk_or_in_memory(on_disk):
    found = []
    for lazily in ((False, False), on_disk):
        adata = annotated(cells()[:, 3:])  # genes without counts have no variance to be scaled by
        doublets = sc.pp.scrublet_simulate_doublets(adata, **{SEED: 3}, **FEW)
        for one, lazy in zip((adata, doublets), lazily, strict=True):
            sc.pp.normalize_total(one)
            sc.pp.log1p(one)
            if lazy:
                one.X = oom(one.X)
        scrub(adata, adata_sim=doublets)
        found.append(adata)
    assert_same_anndata(*found)


SIMULATIONS = [
    {},
    {"layer": "counts"},
    {"sim_doublet_ratio": 0.7, SEED: 5},
    {"synthetic_doublet_umi_subsampling": 0.3},
    {"sim_doublet_ratio": None},
]


@pytest.mark.parametrize("arguments", SIMULATIONS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
def test_doublets_are_scanpy_s(kind, arguments):
    x = cells()
    memory, lazy = pair(x.toarray() if kind == "dense" else x.asformat(kind))
    found = []
    for adata in (memory, lazy):
        adata.layers["counts"] = adata.X.copy()
        np.random.seed(1)
        found.append(sc.pp.scrublet_simulate_doublets(adata, **arguments))
    assert isinstance(found[1].X, OOMMatrix)
    assert sparse.isspmatrix_csc(found[1].X.to_memory())
    assert_same_anndata(*found)


@settings(max_examples=60)
@given(x=expression(huge=False, negative=True, fractions=True), seed=st.integers(0, 2**31), ratio=st.floats(0.1, 0.9))
def test_doublets_are_scanpy_s_from_any_matrix(x, seed, ratio):
    memory, lazy = pair(np.vstack([x, x]) if isinstance(x, np.ndarray) else sparse.vstack([x, x]).asformat(x.format))
    call = lambda adata: sc.pp.scrublet_simulate_doublets(adata, sim_doublet_ratio=ratio, **{SEED: seed})
    assert_same_anndata(call(memory), call(lazy))


def test_doublets_do_not_depend_on_how_many_parents_are_held(monkeypatch):
    memory, lazy = pair(cells())
    want = sc.pp.scrublet_simulate_doublets(memory)
    assert lazy.oom.explain("scrublet_simulate_doublets").n_passes == 1
    assert passes_of(lambda: sc.pp.scrublet_simulate_doublets(lazy)) == 1
    monkeypatch.setattr(_scrublet_core, "PARENTS", lazy.X.nbytes_in_memory // 4)
    found = []
    planned = lazy.oom.explain("scrublet_simulate_doublets")
    assert planned.how == "out of memory"
    assert passes_of(lambda: found.append(sc.pp.scrublet_simulate_doublets(lazy))) == planned.n_passes > 5
    assert_same_anndata(want, found[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("large")
def test_the_file_is_inflated_once(tmp_path):
    annotated(cells(4000)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    # of genes, of genes that are left, variances, parents, doublets; moments, Gram matrix, two projections
    assert passes_of(lambda: scrub(lazy)) <= 9
    assert lazy.X.source.bytes_read <= lazy.X.source.nbytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("large")
def test_a_graph_that_does_not_fit_is_refused_with_the_way_out(monkeypatch):
    _, lazy = pair(cells())
    before = lazy.copy()
    monkeypatch.setattr(_scrublet_core, "NEIGHBOR_NBYTES", 10**9)
    monkeypatch.setattr(scanpy_oom.settings, "_memory_limit", 10**9)
    with pytest.raises(MemoryBudgetExceeded, match="no graph is held"):
        scrub(lazy, get_doublet_neighbor_parents=True)
    assert_same_anndata(before, lazy)


@pytest.mark.filterwarnings("ignore")
def test_errors_are_scanpy_s():
    assert_same_error(lambda adata: scrub(adata, batch_key="nothing"), *pair(cells()), ValueError)
    assert_same_error(lambda adata: scrub(adata, n_prin_comps=500), *pair(cells()), ValueError)


@pytest.mark.filterwarnings("ignore")
def test_the_log_is_scanpy_s():
    assert "Automatically set threshold" in assert_same_log(lambda adata: scrub(adata, **FEW), *pair(cells()))


def test_doublets_can_be_written(tmp_path):
    _, lazy = pair(cells())
    doublets = sc.pp.scrublet_simulate_doublets(lazy)
    doublets.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(dense(ad.read_h5ad(tmp_path / "a.h5ad").X), dense(doublets.X))
