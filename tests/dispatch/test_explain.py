from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import settings
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.dispatch.registry import BUILTIN
from scanpy_oom.engine.explain.explanation import Explanation
from scanpy_oom.overrides.pp import _pca

from ..matrices import annotated, counts


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Nothing is left to be counted against others' limit: an AnnData and its accessor know one another."""
    yield
    gc.collect()


def opened(tmp_path: Path, n_obs: int = 3000) -> ad.AnnData:
    annotated(counts(n_obs, 600)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


@pytest.mark.parametrize(
    "name, arguments, why",
    [
        ("rank_genes_groups", {"groupby": "kind", "method": "logreg"}, "goes through all values many times"),
        ("neighbors", {"use_rep": "X"}, "all genes of cells in any order"),
    ],
)
def test_what_runs_in_memory_is_explained_with_the_bytes_that_it_takes(tmp_path, name, arguments, why):
    adata = opened(tmp_path)
    assert why in adata.oom.explain(name, **arguments).reason
    settings.memory_limit = 200_000_000
    explanation = assert_fallback(adata, name, arguments)
    assert "X in memory would take 4.11 MB" in explanation.reason
    settings.memory_limit = 1_000_000
    explanation = adata.oom.explain(name, **arguments)
    assert (explanation.how, explanation.passes) == ("refused", ())
    assert "more than the limit of 1 MB" in str(explanation)


def assert_fallback(adata: ad.AnnData, name: str, arguments: dict[str, Any]) -> Explanation:
    explanation = adata.oom.explain(name, **arguments)
    assert explanation.how == "materialised"
    assert explanation.n_passes == 1
    assert explanation.passes[0].peak > adata.X.nbytes_in_memory
    assert "runs in memory" in str(explanation)
    return explanation


def test_a_plan_that_does_not_fit_the_limit_says_what_would(tmp_path):
    adata = opened(tmp_path)
    settings.memory_limit = 100_000_000
    explanation = adata.oom.explain("calculate_qc_metrics")
    assert explanation.how == "refused"
    assert "at least 131 MB" in str(explanation)


def test_calls_that_are_no_affair_of_ours_are_named_as_such(tmp_path):
    adata = opened(tmp_path, n_obs=100)
    adata.layers["here"] = adata.X.to_memory()
    assert adata.oom.explain("log1p", layer="here").how == "scanpy as it is"
    assert "in memory" in adata.oom.explain("log1p", layer="here").reason
    assert annotated(counts(10, 5)).oom.explain("pca").how == "scanpy as it is"
    explanation = adata.oom.explain("pl.umap")
    assert (explanation.how, explanation.passes, explanation.n_passes) == ("scanpy as it is", None, None)
    assert "not known" in str(explanation)


@pytest.mark.parametrize("name", ["nope", "pp.nope", "sc.nope.nope", "", "pp."])
def test_a_function_that_scanpy_does_not_have_is_named(name):
    with pytest.raises(ValueError, match=f"scanpy has no function '{name}'"):
        annotated(counts(10, 5)).oom.explain(name)


def test_arguments_that_the_function_does_not_take_are_named(monkeypatch, tmp_path):
    adata = opened(tmp_path, n_obs=100)
    with pytest.raises(TypeError, match=r"sc\.pp\.pca does not take these arguments: .*'components'"):
        adata.oom.explain("pca", components=3)
    with pytest.raises(TypeError, match=r"sc\.tl\.rank_genes_groups .*'groupby'"):
        adata.oom.explain("rank_genes_groups")
    with pytest.raises(TypeError, match="no function"):
        adata.oom.explain(n_comps=3)
    with pytest.raises(KeyError):
        adata.oom.explain("rank_genes_groups", "absent")
    monkeypatch.setattr(_pca, "SMALL", 0)
    with pytest.raises(ValueError, match="n_components=4000"):
        adata.oom.explain("pca", n_comps=4000)


def test_pca_has_one_explanation_whichever_name_it_goes_by(tmp_path):
    adata = opened(tmp_path, n_obs=100)
    texts = {str(adata.oom.explain(name, n_comps=3)) for name in ("pca", "pp.pca", "tl.pca", "sc.tl.pca")}
    assert len(texts) == 1


def test_layers_and_raw_are_named(tmp_path):
    adata = opened(tmp_path)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.log1p(adata)
    adata.raw = adata
    assert adata.oom.explain("rank_genes_groups", "kind").passes[0].matrix == "raw.X"
    assert adata.oom.explain("normalize_total", layer="counts").passes[0].matrix == "layers['counts']"


def test_it_shows_itself_as_aligned_text_and_as_html(tmp_path):
    explanation = opened(tmp_path).oom.explain("calculate_qc_metrics")
    head, header, row, *_ = str(explanation).splitlines()
    assert head == "sc.pp.calculate_qc_metrics: works from disk"
    assert header.index("from the file") + len("from the file") == row.index(" MB") + 3 or "kB" in row
    starts = [header.index(word) for word in ("pass", "computes", "of  ", "reads")]
    assert all(row[start - 1] == " " and row[start] != " " for start in starts)
    assert all(a < b for a, b in pairwise(starts))
    assert repr(explanation) == str(explanation)
    html = explanation._repr_html_()
    assert html.startswith("<div>")
    assert "<script" not in html
    assert "sums and counts of rows and columns" in html


def test_what_a_chain_cannot_take_is_left_to_scanpy(tmp_path):
    adata = opened(tmp_path, n_obs=100)
    sc.pp.scale(adata)
    explanation = adata.oom.explain("normalize_total", target_sum=1)
    assert explanation.how == "materialised"
    assert "row-wise step after centring" in explanation.reason


def test_every_override_has_a_plan_but_those_that_read_what_they_select_on_the_way(tmp_path):
    without = [o.function for o in BUILTIN if o.implementation is not None and not o.plannable]
    assert without == ["pp.recipe_weinreb17", "pp.scrublet"]
    adata = opened(tmp_path, 60)
    for name in without:
        explanation = adata.oom.explain(name)
        assert (explanation.how, explanation.passes) == ("out of memory", None)
        assert "not known beforehand" in str(explanation)


@pytest.mark.skipif(not SCANPY_1_13, reason="an argument of scanpy 1.13")
def test_planning_takes_no_number_of_a_generator(oom: ad.AnnData) -> None:
    used, untouched = np.random.default_rng(3), np.random.default_rng(3)
    oom.oom.explain("pca", n_comps=2, rng=used, svd_solver="randomized")
    assert used.spawn(1)[0].random() == untouched.spawn(1)[0].random()
