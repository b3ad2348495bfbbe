"""An explanation leaves everything as it was, and is what happens: for every override."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.dispatch import explain
from scanpy_oom.dispatch.apart import Apart
from scanpy_oom.dispatch.registry import BUILTIN
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca

from ..matrices import annotated, counts
from ..versions import has

GENES = [f"gene{j}" for j in range(6, 12)]

CALLS: dict[str, list[dict[str, Any]]] = {
    "pp.calculate_qc_metrics": [{"percent_top": [5], "qc_vars": ["mt"]}, {"percent_top": None, "inplace": True}],
    "pp.combat": [{"key": "text"}, {"key": "batch", "covariates": ["number"], "inplace": False}],
    "pp.downsample_counts": [{"counts_per_cell": 5}, {"total_counts": 500}],
    "pp.filter_cells": [{"min_genes": 8}, {"max_counts": 90, "inplace": False}],
    "pp.filter_genes": [{"min_cells": 20}, {"min_counts": 5, "inplace": False}],
    "pp.filter_genes_dispersion": [{"n_top_genes": 10}],
    "pp.highly_variable_genes": [{"n_top_genes": 10}, {"batch_key": "text", "subset": True}],
    "pp.log1p": [{}, {"base": 2, "copy": True}],
    "pp.normalize_per_cell": [{}, {"layers": "all", "copy": True}],
    "pp.normalize_total": [{}, {"target_sum": 10}, {"exclude_highly_expressed": True, "max_fraction": 0.1}],
    "pp.pca": [{"n_comps": 3}, {"n_comps": 3, "svd_solver": "randomized"}, {"n_comps": 3, "chunked": True}],
    "pp.regress_out": [{"keys": "number"}, {"keys": "text"}],
    "pp.scale": [{}, {"mask_obs": "some", "zero_center": False}],
    "pp.scrublet_simulate_doublets": [{}, {"synthetic_doublet_umi_subsampling": 0.5}],
    "pp.sqrt": [{}, {"copy": True}],
    "tl.dendrogram": [{"groupby": "kind", "var_names": GENES}],
    "tl.filter_rank_genes_groups": [{}],
    "tl.rank_genes_groups": [{"groupby": "text", "pts": True}, {"groupby": "kind", "method": "wilcoxon"}],
    "tl.score_genes": [{"gene_list": GENES, "ctrl_size": 3, "n_bins": 5}],
    "get.aggregate": [{"by": "text", "func": ["mean", "var"]}, {"by": "mt", "func": "sum", "axis": "var"}],
    "metrics.gearys_c": [{}],
    "metrics.morans_i": [{}],
    "pl.highest_expr_genes": [{"n_top": 5, "show": False}],
    "experimental.pp.highly_variable_genes": [{"n_top_genes": 9}, {"n_top_genes": 9, "batch_key": "text"}],
    "experimental.pp.normalize_pearson_residuals": [{}, {"check_values": False}],
    "experimental.pp.normalize_pearson_residuals_pca": [{"n_comps": 3}, {"n_comps": 3, "inplace": False}],
    "experimental.pp.recipe_pearson_residuals": [{"n_comps": 3, "n_top_genes": 36}],
}
"""Arguments of each override that tells its plan; that of `tl.ingest` is by scanpy's class, and tested apart."""

EACH = [(name, arguments) for name, calls in CALLS.items() if has(name) for arguments in calls]


def test_every_override_that_tells_its_plan_is_here():
    assert {override.function for override in BUILTIN if override.plannable} - {"tl.ingest"} == CALLS.keys()


@pytest.fixture
def adata(tmp_path: Path) -> Iterator[ad.AnnData]:
    x = counts(300, 40).toarray()
    x[3, 5] = x[:3, 2] = 1  # no row and no column is empty
    made = annotated(sparse.csr_matrix(x))
    made.obs["text"] = [f"t{i}" for i in np.arange(300) % 3]
    made.obs["number"] = np.sin(np.arange(300))
    made.obs["some"] = np.arange(300) % 2 == 0
    made.layers["counts"] = made.X.copy()
    made.obsm["rep"] = np.ones((300, 2))
    made.obsp["connectivities"] = sparse.csr_matrix(np.eye(300, k=1) + np.eye(300, k=-1))
    made.obsp["distances"] = made.obsp["connectivities"].copy()
    keys = {"connectivities_key": "connectivities", "distances_key": "distances"}
    made.uns["neighbors"] = {**keys, "params": {"method": "umap", "n_neighbors": 2}}
    made.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    opened = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    opened.X.source.row_offsets()
    opened.layers["counts"].source.row_offsets()
    yield opened
    opened.oom.close()


def fingerprint(value: Any) -> Any:
    """Return what could be seen of a change."""
    if isinstance(value, OOMMatrix):
        return id(value), id(value._state), {k: v.tobytes() for k, v in value.statistics.known.items()}
    if isinstance(value, pd.DataFrame):
        return {name: (str(value[name].dtype), value[name].tolist()) for name in value}, list(value.index)
    if isinstance(value, np.ndarray):
        return id(value), value.tobytes() if value.dtype != object else value.tolist()
    if isinstance(value, dict):
        return {key: fingerprint(each) for key, each in value.items()}
    return id(value) if sparse.issparse(value) else repr(value)


def content(adata: ad.AnnData) -> list[Any]:
    parts = [dict(getattr(adata, name)) for name in ("uns", "layers", "obsm", "varm", "obsp", "varp")]
    raw = None if adata.raw is None else adata.raw.X
    return [fingerprint(value) for value in (adata.X, raw, adata.obs, adata.var, *parts)]


def prepared(adata: ad.AnnData, name: str) -> None:
    if name == "tl.filter_rank_genes_groups":
        sc.tl.rank_genes_groups(adata, "kind", pts=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("known", [False, True], ids=["nothing known", "statistics known"])
@pytest.mark.parametrize(("name", "arguments"), EACH, ids=str)
def test_explaining_changes_nothing_and_tells_the_passes_that_are_made(adata, name, arguments, known, monkeypatch):
    if name == "pp.pca" and known:
        monkeypatch.setattr(_pca, "SMALL", 0)
    prepared(adata, name)
    if known:
        sc.pp.calculate_qc_metrics(adata, percent_top=None)
    before, state = content(adata), np.random.get_state()[1].tobytes()
    read, passes = adata.X.source.bytes_read, pass_log.totals().passes
    explanation = adata.oom.explain(name, **arguments)
    assert content(adata) == before
    assert np.random.get_state()[1].tobytes() == state
    assert (adata.X.source.bytes_read, pass_log.totals().passes) == (read, passes)
    assert explanation.how == "out of memory"
    function: Any = sc
    for part in name.split("."):
        function = getattr(function, part)
    function(adata, **arguments)
    made = [one.reductions for one in pass_log.recent()][len(pass_log.recent()) - pass_log.totals().passes + passes :]
    assert [planned.reductions for planned in explanation.passes] == [of_known(one) for one in made]


def of_known(reductions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the reductions of a pass without those of genes that are drawn first, which are not known beforehand."""
    return ("MapRows",) if reductions == ("MapRows", "MapRows") else reductions


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("lazy", [True, False], ids=["reference on disk", "reference in memory"])
@pytest.mark.parametrize("of", [{"n_pcs": 3}, {"use_rep": "X_pca"}], ids=str)
def test_ingest_explains_the_passes_that_scanpys_class_asks_for(adata, of, lazy, small, monkeypatch):
    sc.pp.pca(adata, n_comps=3)
    sc.pp.neighbors(adata, n_neighbors=4, **of)
    reference = adata.copy()
    if not lazy:
        reference.X = reference.X.to_memory()
    if not small:
        monkeypatch.setattr(_pca, "SMALL", 0)
    before, passes = content(adata), pass_log.totals().passes
    explanation = adata.oom.explain("ingest", reference, embedding_method="pca")
    assert content(adata) == before
    sc.tl.ingest(adata, reference, embedding_method="pca")
    made = [one.reductions for one in pass_log.recent()][len(pass_log.recent()) - pass_log.totals().passes + passes :]
    assert [planned.reductions for planned in explanation.passes] == made


def test_what_a_plan_assumes_raises_nothing_where_numpy_is_set_to_raise(adata):
    with np.errstate(all="raise"):
        assert adata.oom.explain("pp.normalize_total").n_passes == 1


def test_one_matrix_in_two_places_is_one_in_the_copy_and_a_view_is_copied(adata):
    adata.raw = adata
    for shown in (adata, adata[10:60, 3:20]):
        apart = Apart()
        copied = apart.of(shown)
        assert apart.of(shown) is copied
        assert copied.shape == shown.shape
        assert copied.raw.shape == shown.raw.shape
        assert not copied.is_view
        assert copied.obs.equals(pd.DataFrame(shown.obs))
        np.testing.assert_array_equal(copied.X.to_memory().toarray(), shown.X.to_memory().toarray())
    whole = Apart().of(adata)
    whole.X.statistics.known["col_sum"] = np.zeros(40)
    assert ("col_sum" in whole.raw.X.statistics.known) == (adata.raw.X.statistics is adata.X.statistics)
    assert "col_sum" not in adata.X.statistics.known


def test_generators_are_copied():
    for made in (np.random.default_rng(3), np.random.RandomState(3)):
        copied, like = Apart().of(made), Apart().of(made)
        copied.random()
        assert made.random() == like.random()


SEED = "random_state" if SCANPY_1_13 else "random_seed"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tl.score_genes", CALLS["tl.score_genes"][0]),
        ("pp.pca", {"n_comps": 3, "random_state": None}),
        ("pp.scrublet_simulate_doublets", {SEED: None}),
        ("pp.scrublet_simulate_doublets", {SEED: np.random}),
    ],
    ids=str,
)
def test_what_others_draw_while_a_call_is_explained_is_drawn_once(adata, name, arguments, monkeypatch):
    def planned_while_others_draw(function):
        drawn.append(np.random.random())
        return planned(function)

    drawn, planned = [], explain.planned
    monkeypatch.setattr(explain, "planned", planned_while_others_draw)
    before = np.random.get_state()
    try:
        np.random.seed(5)
        assert adata.oom.explain(name, **arguments).how == "out of memory"
        drawn.append(np.random.random())
    finally:
        np.random.set_state(before)
    assert drawn == list(np.random.RandomState(5).random(2))
