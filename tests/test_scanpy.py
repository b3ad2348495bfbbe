"""Private names of scanpy: all in one module, and none that takes more down than the function that needs it."""

from __future__ import annotations

import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom import UnsupportedOutOfMemory, _scanpy
from scanpy_oom._scanpy import SCANPY_1_12, SCANPY_1_13

from .comparison import assert_same
from .matrices import annotated, counts

ROOT = Path(scanpy_oom.__file__).parent

NOT_IN_ALL = {
    "axis_sum": not SCANPY_1_12,
    "empty": not SCANPY_1_13,
    "handle_mask_var": not SCANPY_1_13,
    "draws_of_numpy": SCANPY_1_13,
    "get_vectors": SCANPY_1_13,
    "legacy_random_state": SCANPY_1_13,
    "legacy_rng": SCANPY_1_13,
    "normalize_by": SCANPY_1_13,
    "rep_from_json": SCANPY_1_13,
    "rep_to_json": SCANPY_1_13,
}
"""Names that some versions have, and whether the installed one is among them."""


@pytest.mark.parametrize("name", _scanpy.PLACES)
def test_the_installed_scanpy_has_every_name(name):
    if NOT_IN_ALL.get(name, True):
        assert getattr(_scanpy, name) is not None
    else:
        with pytest.raises(UnsupportedOutOfMemory, match=re.escape(f"scanpy {version('scanpy')} has no `scanpy.")):
            getattr(_scanpy, name)


def test_what_is_no_name_of_scanpy_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = _scanpy.no_such_name


def test_no_other_module_imports_a_private_name_of_scanpy():
    private = re.compile(r"(from|import) scanpy(\.\w+)*\._|from scanpy(\.\w+)* import _|import_module\(.scanpy\..*\._")
    found = [path for path in ROOT.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_every_name_is_used():
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    assert [name for name in _scanpy.PLACES if f"_scanpy.{name}" not in source and f'("{name}")' not in source] == []


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    adata = annotated(counts(60, 40, density=0.5))
    adata.obs["weight"] = np.arange(adata.n_obs) % 7
    adata.layers["counts"] = adata.X.copy()
    path = tmp_path_factory.mktemp("names") / "counts.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def memory(path) -> ad.AnnData:
    return workflow(ad.read_h5ad(path))


def workflow(adata: ad.AnnData) -> ad.AnnData:
    """A call of every function that stays out of memory, and some plots."""
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[3], inplace=True)
    sc.pp.filter_cells(adata, min_counts=1)
    sc.pp.filter_genes(adata, min_cells=1)
    sc.pp.downsample_counts(adata, counts_per_cell=30)
    sc.pp.scrublet(adata, n_prin_comps=3, threshold=0.5, verbose=False)
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", span=1)
    sc.experimental.pp.highly_variable_genes(adata, n_top_genes=20)
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=20)
    sc.tl.rank_genes_groups(adata, "kind", n_genes=5)
    sc.tl.rank_genes_groups(adata, "kind", method="wilcoxon", pts=True)
    sc.tl.filter_rank_genes_groups(adata, min_fold_change=0)
    sc.tl.score_genes(adata, list(adata.var_names[:5]), ctrl_size=5)
    sc.tl.dendrogram(adata, "kind", var_names=list(adata.var_names[:5]))
    sc.get.aggregate(adata, "mt", "sum", axis="var")
    adata.uns["aggregated"] = sc.get.aggregate(adata, "kind", ["mean", "var"]).to_df("mean")
    sc.pp.regress_out(adata, ["weight"])
    sc.pp.scale(adata, mask_obs=np.arange(adata.n_obs) % 2 == 0)
    sc.pp.combat(adata, "batch")
    sc.pp.pca(adata, n_comps=5, svd_solver="randomized")
    scanpy_oom.settings.graph = "fast"
    sc.pp.neighbors(adata, 5, use_rep="X_pca", method="gauss")
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2, restrict_to=("kind", ["k0", "k1"]))
    scanpy_oom.settings.graph = "scanpy"
    sc.pl.highest_expr_genes(adata, n_top=3, layer="counts", show=False)
    return adata


@pytest.fixture
def loaded_anew():
    """Have the overrides imported anew, as in a process of its own, and given back as they were."""
    mine = re.compile(r"scanpy_oom\.(overrides|reductions\.downsample)\b")
    before = {name: module for name, module in sys.modules.items() if mine.match(name)}
    for name in before:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if mine.match(name)]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("name", [name for name in _scanpy.PLACES if NOT_IN_ALL.get(name, True)])
def test_a_name_that_is_gone_takes_down_the_functions_that_need_it_alone(
    name, path, memory, tmp_path, monkeypatch, loaded_anew
):
    monkeypatch.setattr(_scanpy, "PLACES", {**_scanpy.PLACES, name: ("_utils:_is_gone",)})
    lazy = sc.read_h5ad(path, backed="oom") if not SCANPY_1_13 else sc.io.read_h5ad(path, backed="oom")
    assert float(lazy.X.sum()) > 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        workflow(lazy)
    told = [str(warning.message) for warning in caught if "cannot work from disk" in str(warning.message)]
    assert all(f"scanpy {version('scanpy')} has no `scanpy._utils._is_gone`" in message for message in told)
    if name not in UNTOLD:
        assert told, f"{name} is gone, and nobody says so"
    assert_same(memory.obs, lazy.obs, "obs", rtol=1e-4)
    assert_same(memory.var, lazy.var, "var", rtol=1e-4)
    pd.testing.assert_frame_equal(memory.uns["aggregated"], lazy.uns["aggregated"], rtol=1e-4)
    del lazy.uns["rank_genes_groups_filtered"]  # whose NaN among names cannot be written, in memory neither
    lazy.write_h5ad(tmp_path / "written.h5ad")
    assert ad.read_h5ad(tmp_path / "written.h5ad").shape == memory.shape


UNTOLD = {"resolve_axis"} if SCANPY_1_13 else set()
UNTOLD |= {"download", "empty", "get_graph", "graph_from_adjacency", "ingest_dim_dict", "init_pos_from_paga"}
UNTOLD |= {"rep_from_json", "scrublet", "subsample_counts"}
"""What none of these calls needs."""
