"""Scripts leave the same AnnData with and without workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import psutil
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.overrides.pp import _pca
from scanpy_oom.settings import settings

from ...comparison import assert_same, assert_same_anndata
from ...matrices import annotated, counts

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """Counts of several chunks, some of them of mitochondria."""
    adata = annotated(counts(3000, 200, density=0.2))
    adata.var_names = [f"MT-{j}" if j < 5 else f"g{j}" for j in range(200)]
    path = tmp_path_factory.mktemp("workflow") / "counts.h5ad"
    adata.write_h5ad(path, compression="gzip")
    return path


def to_pca(adata: ad.AnnData) -> np.ndarray:
    """Go from counts to principal components."""
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    shown = adata[:, adata.var["highly_variable"].to_numpy()].copy()
    sc.pp.scale(shown, max_value=10)
    sc.pp.pca(shown)
    return shown.obsm["X_pca"]


@pytest.mark.slow
@pytest.mark.skipif("lo" not in psutil.net_io_counters(pernic=True), reason="bytes are counted at the interface `lo`")
def test_reading_to_pca_of_100_000_cells_sends_less_than_150_mb(client, tmp_path):
    write_atlas(tmp_path / "atlas.h5ad", n_cells=100_000, n_genes=20_000)
    before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    with scanpy_oom.engine(client):
        found = to_pca(sc.read_h5ad(tmp_path / "atlas.h5ad", backed="oom"))
    sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before
    assert {record.device for record in pass_log.recent()[-3:]} == {"2 Dask workers"}
    assert sent < 150e6
    np.testing.assert_array_equal(found, to_pca(sc.read_h5ad(tmp_path / "atlas.h5ad", backed="oom")))


@pytest.fixture(autouse=True)
def _as_of_a_large_matrix(monkeypatch):
    """Not handed to scikit-learn; and ranks take more than what a busy machine may have left by default."""
    monkeypatch.setattr(_pca, "SMALL", 0)
    settings.memory_limit = 2 * 10**9


def script(adata: ad.AnnData, flavor: str) -> dict[str, Any]:
    """Go from counts to markers, and return what is left beside the AnnData."""
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[20], inplace=True)
    sc.pp.filter_cells(adata, min_genes=20)
    sc.pp.filter_genes(adata, min_cells=3)
    if flavor == "seurat_v3":
        sc.pp.highly_variable_genes(adata, n_top_genes=120, flavor=flavor, batch_key="batch")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    if flavor == "seurat":
        sc.pp.highly_variable_genes(adata, n_top_genes=120, flavor=flavor)
    adata.raw = adata
    left = {"means": sc.get.aggregate(adata, "kind", ["mean", "var", "count_nonzero", "median"])}
    for method in ("t-test", "wilcoxon"):
        sc.tl.rank_genes_groups(adata, "kind", method=method, key_added=method)
    shown = adata[:, adata.var["highly_variable"].to_numpy()].copy()
    sc.pp.scale(shown, max_value=10)
    sc.pp.pca(shown, n_comps=10)
    left["shown"] = shown
    left["in memory"] = shown[10:300, 5:60].to_memory()
    left["sums"] = np.asarray(adata.X.sum(axis=0))
    return left


def passes_by_place(call: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    before = pass_log.totals()
    result = call()
    return result, dict(pass_log.totals().since(before).by_device)


@pytest.mark.parametrize("flavor", ["seurat", "seurat_v3"])
@pytest.mark.parametrize("engine", ["client", "three"])
def test_a_script_leaves_the_same_to_the_last_bit(request, h5ad, flavor, engine):
    if flavor == "seurat_v3":
        pytest.importorskip("skmisc", reason="scanpy's `seurat_v3` needs it")
    want = sc.read_h5ad(h5ad, backed="oom")
    left = script(want, flavor)
    adata = sc.read_h5ad(h5ad, backed="oom")
    client = request.getfixturevalue(engine)
    with scanpy_oom.engine(client):
        found, places = passes_by_place(lambda: script(adata, flavor))
    assert places.pop(f"{len(client.nthreads())} Dask workers") >= 7
    assert set(places) <= {"the CPU for few columns"}
    assert_same_anndata(want, adata, rtol=0)
    assert list(found) == list(left)
    for name, value in left.items():
        assert_same(value, found[name], name, rtol=0)


@pytest.mark.parametrize("engine", ["client", "one"])
def test_other_functions_too(request, h5ad, engine):
    def found():
        adata = sc.read_h5ad(h5ad, backed="oom")
        sc.pp.normalize_total(adata, exclude_highly_expressed=True, max_fraction=0.1)
        sc.pp.log1p(adata)
        sc.tl.score_genes(adata, list(adata.var_names[10:30]), ctrl_size=20)
        sc.pp.regress_out(adata, ["score"])
        means = sc.get.aggregate(adata, "batch", ["mean"])
        return adata, means, adata[:400].to_memory()

    want = found()
    with scanpy_oom.engine(request.getfixturevalue(engine)):
        got = found()
    for a, b in zip(want, got, strict=True):
        assert_same(a, b, rtol=0)


def test_the_engine_of_the_settings_serves_a_whole_script(client, h5ad):
    settings.engine = client
    adata = sc.read_h5ad(h5ad, backed="oom")
    _, places = passes_by_place(lambda: sc.pp.calculate_qc_metrics(adata, percent_top=[5], inplace=True))
    assert places == {"2 Dask workers": 1}


def test_cells_without_counts_are_warned_of_once(client, h5ad):
    adata = sc.read_h5ad(h5ad, backed="oom")
    sc.pp.normalize_total(adata, target_sum=100)
    with scanpy_oom.engine(client), pytest.warns(UserWarning, match="Some cells have zero counts"):
        adata.X.sum()
