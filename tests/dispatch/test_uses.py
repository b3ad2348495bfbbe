from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from operator import attrgetter
from typing import Any

import anndata as ad
import pytest
import scanpy as sc

from scanpy_oom.dispatch.arguments import bind
from scanpy_oom.dispatch.registry import BUILTIN

from ..versions import has

rules = {override.function: override.uses for override in BUILTIN}


def used(name: str, *args: Any, **kwargs: Any) -> list[str]:
    """Names of the matrices that a call would use."""
    if missing := kwargs.keys() - signature(attrgetter(name)(sc)).parameters:
        pytest.skip(f"this scanpy's {name} has no {missing}")
    bound = bind(attrgetter(name)(sc), args, kwargs)
    return [slot for _, slot in rules[name](bound.arguments)]


CASES = [
    ("pp.log1p", {}, ["X"]),
    ("pp.log1p", {"layer": "counts"}, ["layers/counts"]),
    ("pp.log1p", {"obsm": "X_pca"}, []),
    ("pp.calculate_qc_metrics", {"use_raw": True}, ["raw/X"]),
    ("pp.normalize_per_cell", {"layers": "all"}, ["X", "layers/counts"]),
    ("pp.normalize_per_cell", {"layers": ["counts"]}, ["X", "layers/counts"]),
    ("pp.normalize_per_cell", {}, ["X"]),
    ("tl.rank_genes_groups", {"groupby": "kind"}, ["raw/X"]),
    ("tl.rank_genes_groups", {"groupby": "kind", "use_raw": False}, ["X"]),
    ("tl.rank_genes_groups", {"groupby": "kind", "layer": "counts"}, ["layers/counts"]),
    ("tl.score_genes", {"gene_list": ["gene1"]}, ["raw/X"]),
    ("pp.neighbors", {}, []),
    ("pp.neighbors", {"n_pcs": 0}, ["X"]),
    ("pp.neighbors", {"use_rep": "X"}, ["X"]),
    ("pp.neighbors", {"use_rep": "X_pca"}, []),
    ("pp.neighbors", {"use_rep": "X", "distances": 1}, []),
    ("tl.tsne", {}, []),
    ("tl.dendrogram", {"groupby": "kind"}, []),
    ("tl.dendrogram", {"groupby": "kind", "var_names": ["gene1"]}, ["raw/X"]),
    ("tl.dendrogram", {"groupby": "kind", "var_names": ["gene1"], "use_raw": False}, ["X"]),
    ("get.aggregate", {"by": "kind", "func": "sum"}, ["X"]),
    ("get.aggregate", {"by": "kind", "func": "sum", "obsm": "X_pca"}, []),
    ("metrics.morans_i", {"use_raw": True}, ["raw/X"]),
    ("pl.clustermap", {}, ["raw/X"]),
    ("pl.clustermap", {"use_raw": False}, ["X"]),
]


@pytest.mark.parametrize(("name", "kwargs", "expected"), [case for case in CASES if has(case[0])])
def test_the_matrices_that_a_call_uses(
    name: str, kwargs: dict[str, Any], expected: list[str], memory: ad.AnnData
) -> None:
    assert used(name, memory, **kwargs) == expected


def test_raw_is_used_only_where_there_is_one(memory: ad.AnnData) -> None:
    del memory.raw
    assert used("tl.rank_genes_groups", memory, "kind") == ["X"]
    assert used("pl.clustermap", memory) == ["X"]


def test_few_genes_are_a_representation_of_their_own(memory: ad.AnnData) -> None:
    few = memory[:, : sc.settings.N_PCS].copy()
    assert used("pp.neighbors", few) == ["X"]
    assert used("pp.neighbors", few, use_rep="X_pca") == []


def test_umap_uses_what_neighbors_were_computed_from(memory: ad.AnnData) -> None:
    sc.pp.neighbors(memory, use_rep="X_pca")
    assert used("tl.umap", memory) == []
    sc.pp.neighbors(memory, use_rep="X", key_added="on_x")
    assert used("tl.umap", memory, neighbors_key="on_x") == ["X"]


def test_genes_are_filtered_by_the_ranking_where_it_holds_enough(memory: ad.AnnData) -> None:
    sc.tl.rank_genes_groups(memory, "kind", use_raw=False)
    assert used("tl.filter_rank_genes_groups", memory) == ["X"]
    sc.tl.rank_genes_groups(memory, "kind", use_raw=False, pts=True)
    assert used("tl.filter_rank_genes_groups", memory) == []
    assert used("tl.filter_rank_genes_groups", memory, use_raw=True) == ["raw/X"]


def test_a_bare_matrix_is_what_it_is(memory: ad.AnnData) -> None:
    found = list(rules["pp.filter_cells"]({"data": memory.X}))
    assert found == [(memory.X, "")]


def test_values_may_be_given_to_a_metric(memory: ad.AnnData) -> None:
    sc.pp.neighbors(memory)
    metric: Callable[..., Any] = rules["metrics.morans_i"]
    assert [slot for _, slot in metric({"adata": memory, "vals": memory.X})] == [""]


def test_both_sides_of_ingest_are_used(memory: ad.AnnData) -> None:
    assert used("tl.ingest", memory, memory.copy()) == ["X", "X"]
