from __future__ import annotations

import pandas as pd
import pytest
import scanpy as sc

from ...comparison import assert_same_error, assert_same_outcome, passes_of
from ...matrices import counts, pair

GENES = [f"gene{k}" for k in (1, 4, 7, 11, 12)]
ARGUMENTS = [
    {},
    {"cor_method": "spearman"},
    {"linkage_method": "average"},
    {"optimal_ordering": True},
    {"key_added": "tree"},
    {"inplace": False},
    {"use_raw": False},
    {"use_raw": True},
]


def logarithms(adata):
    sc.pp.log1p(adata)
    adata.raw = adata.copy()
    adata.obs["part"] = pd.Categorical([f"p{k % 4}" for k in range(adata.n_obs)])


@pytest.mark.parametrize("groupby", ["kind", ["kind", "batch"], "part"], ids=str)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_trees_by_genes_are_scanpy_s_for_all_arguments(arguments, groupby):
    call = lambda adata: sc.tl.dendrogram(adata, groupby, var_names=GENES, **arguments)
    assert_same_outcome(call, counts(60, 60), before=logarithms, rtol=1e-5)


def test_trees_by_components_read_nothing():
    memory, lazy = pair(counts(60, 60))
    for adata in (memory, lazy):
        sc.pp.pca(adata, n_comps=5)
    assert passes_of(lambda: sc.tl.dendrogram(lazy, "kind")) == 0
    sc.tl.dendrogram(memory, "kind")
    assert lazy.uns["dendrogram_kind"]["categories_ordered"] == memory.uns["dendrogram_kind"]["categories_ordered"]


def test_trees_by_genes_take_one_pass():
    lazy = pair(counts(60, 60))[1]
    assert passes_of(lambda: sc.tl.dendrogram(lazy, "kind", var_names=GENES)) == 1


def test_groups_that_are_not_there_raise_what_scanpy_raises():
    memory, lazy = pair(counts(60, 60))
    assert_same_error(lambda a: sc.tl.dendrogram(a, "absent", var_names=GENES), memory, lazy, ValueError)


def test_names_that_raw_holds_twice_raise_what_scanpy_raises():
    memory, lazy = pair(counts(60, 60))
    for adata in (memory, lazy):
        names, adata.var_names = adata.var_names, ["twice", "twice", *adata.var_names[2:]]
        adata.raw = adata
        adata.var_names = names
    assert_same_error(lambda adata: sc.tl.dendrogram(adata, "kind", var_names=GENES), memory, lazy, ValueError)


def test_a_view_keeps_the_tree():
    memory, lazy = pair(counts(30, 12).toarray())
    trees = []
    for adata in (memory, lazy):
        adata.obs["label"] = pd.Categorical(list("abc") * 10)
        view = adata[::-1]
        sc.tl.dendrogram(view, "label", use_rep="X")
        trees.append(view.uns["dendrogram_label"])
    assert trees[0]["categories_ordered"] == trees[1]["categories_ordered"]


def test_missing_values_are_left_out_of_means_as_in_memory():
    x = counts(40, 8).toarray()
    x[3, 1] = float("nan")
    assert_same_outcome(lambda a: sc.tl.dendrogram(a, "kind", var_names=["gene0", "gene1", "gene4"]), x)
