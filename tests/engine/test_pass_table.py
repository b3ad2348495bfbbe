"""What each step of a script costs: passes, and bytes of the big file."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.overrides.pp import _pca

from ..matrices import annotated, counts


class Cost:
    """Passes made and bytes fetched by each step."""

    def __init__(self, adata) -> None:
        self._source = adata.X.source

    def of(self, function, *arguments, **keywords) -> tuple[int, int]:
        passes, read = pass_log.totals().passes, self._source.bytes_read
        function(*arguments, **keywords)
        return pass_log.totals().passes - passes, self._source.bytes_read - read


def script(adata, cost: Cost) -> dict[str, tuple[int, int]]:
    """The steps of the usual script, and what each costs."""
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    found = {"qc": cost.of(sc.pp.calculate_qc_metrics, adata, qc_vars=["mt"], percent_top=[20], inplace=True)}
    found["filter_cells"] = cost.of(sc.pp.filter_cells, adata, min_genes=5)
    found["filter_genes"] = cost.of(sc.pp.filter_genes, adata, min_cells=3)
    found["copy"] = cost.of(lambda: adata.layers.update(counts=adata.X.copy()))
    found["normalize_total"] = cost.of(sc.pp.normalize_total, adata, target_sum=1e4)
    found["log1p"] = cost.of(sc.pp.log1p, adata)
    found["raw"] = cost.of(lambda: setattr(adata, "raw", adata))
    found["hvg"] = cost.of(sc.pp.highly_variable_genes, adata, n_top_genes=min(2000, adata.n_vars // 4))
    subset = adata[:, adata.var["highly_variable"].to_numpy()].copy()
    found["scale"] = cost.of(sc.pp.scale, subset, max_value=10)
    found["pca"] = cost.of(sc.pp.pca, subset, n_comps=5)
    adata.obs["group"] = np.where(np.arange(adata.n_obs) % 2, "a", "b")
    found["t-test"] = cost.of(sc.tl.rank_genes_groups, adata, "group", method="t-test")
    return found


@pytest.fixture(params=["made", "pbmc3k"])
def adata(request, tmp_path):
    if request.param == "made":
        made = annotated(counts(4000, 120, density=0.2))
        made.var_names = [f"MT-{j}" if j < 3 else f"g{j}" for j in range(120)]
        made.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
        return sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    return sc.read_h5ad(request.getfixturevalue("data_dir") / "pbmc3k_counts.h5ad", backed="oom")


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_the_file_is_inflated_once_and_no_step_makes_more_passes_than_it_may(adata, size, monkeypatch):
    if size == "large":  # as for matrices that do not go to scikit-learn
        monkeypatch.setattr(_pca, "SMALL", 0)
    source = adata.X.source
    found = script(adata, Cost(adata))
    passes = {step: n for step, (n, _) in found.items()}
    removed = passes.pop("filter_genes")
    assert removed <= 1  # over the cells that were removed
    assert passes == {
        "qc": 1,
        "filter_cells": 0,
        "copy": 0,
        "normalize_total": 0,
        "log1p": 0,
        "raw": 0,
        "hvg": 1,
        "scale": 0,
        "pca": 2 if size == "large" else 1,
        "t-test": 1,
    }
    read = {step: n for step, (_, n) in found.items() if n}
    assert list(read) == ["qc"]
    assert read["qc"] <= source.nbytes
    if size == "large":
        assert [r.reductions for r in pass_log.recent()[-3:-1]] == [("Gram", "ClassSums"), ("RightProduct",)]


def test_the_median_of_totals_costs_no_pass_once_they_are_known(adata):
    cost = Cost(adata)
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    assert cost.of(sc.pp.normalize_total, adata) == (0, 0)
