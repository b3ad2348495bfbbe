from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from ...comparison import (
    assert_same,
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ...matrices import counts, pair
from ..pp.strategies import FORMATS, expression

TESTS = ["t-test", "t-test_overestim_var", "wilcoxon"]
ARGUMENTS = [
    {},
    {"pts": True},
    {"reference": "k1", "pts": True},
    {"groups": ["k0", "k2"], "pts": True},
    {"groups": ("k2",), "reference": "k0"},
    {"groups": ["k1"], "reference": "k1"},
    {"n_genes": 5},
    {"n_genes": 1000},
    {"rankby_abs": True, "n_genes": 7},
    {"corr_method": "bonferroni"},
    {"key_added": "markers"},
    {"copy": True},
    {"layer": "logarithms", "use_raw": False},
    {"use_raw": True, "pts": True},
    {"use_raw": False},
    {"mask_var": "mt", "use_raw": False},
    {"mask_var": np.arange(30) % 3 != 1, "pts": True, "use_raw": False},
    {"tie_correct": True},
    {"tie_correct": True, "reference": "k1"},
    {"only_positive": False, "n_genes": 5},
]


def logarithms(adata):
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    adata.raw = adata.copy()
    adata.layers["logarithms"] = adata.X.copy()
    adata.obs["text"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")
    adata.obs["numbers"] = pd.Categorical(np.arange(adata.n_obs) % 2)


@pytest.mark.parametrize("method", TESTS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_rankings_are_scanpy_s_for_all_arguments(arguments, method):
    call = lambda adata: sc.tl.rank_genes_groups(adata, "kind", method=method, **arguments)
    assert_same_outcome(call, counts(60, 30), before=logarithms)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_rankings_are_scanpy_s_for_every_dtype_and_format(dtype, kind):
    x = counts(60, 30, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.tl.rank_genes_groups(a, "kind", pts=True), x, before=logarithms)


@settings(max_examples=40)
@given(x=expression(dtypes=("float32", "int32"), negative=True, fractions=True), data=st.data())
def test_rankings_are_scanpy_s_for_any_matrix(x, data):
    # beyond, means and variances of such values round, and rounding decides in which order tied genes are listed
    assume(abs(x).max() < 1000 if x.size else True)
    arguments = {
        "method": data.draw(st.sampled_from(TESTS)),
        "reference": data.draw(st.sampled_from(["rest", "k1"])),
        "pts": data.draw(st.booleans()),
        "tie_correct": data.draw(st.booleans()),
        "rankby_abs": data.draw(st.booleans()),
        "n_genes": data.draw(st.sampled_from([None, 2])),
    }
    # a group of one cell is refused, by scanpy too
    assert_same_outcome(lambda a: sc.tl.rank_genes_groups(a, "kind", **arguments), x, rtol=1e-9)


@pytest.mark.parametrize("groupby", ["text", "numbers"])
def test_groups_may_be_texts_or_numbers(groupby):
    call = lambda adata: sc.tl.rank_genes_groups(adata, groupby)
    assert_same_outcome(call, counts(60, 30), before=logarithms)


def test_groups_may_be_given_as_numbers():
    def before(adata):
        logarithms(adata)
        adata.obs["numbers"] = adata.obs["numbers"].astype(str).astype("category")

    assert_same_outcome(lambda a: sc.tl.rank_genes_groups(a, "numbers", groups=[1]), counts(60, 30), before=before)


def test_cells_of_no_group_belong_to_the_rest():
    def before(adata):
        logarithms(adata)
        adata.obs["kind"] = pd.Categorical([None, "k0", "k1"] * 20, categories=["k1", "k0", "empty"])

    assert_same_outcome(lambda a: sc.tl.rank_genes_groups(a, "kind", pts=True), counts(60, 30), before=before)


@pytest.mark.parametrize("method", TESTS)
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csr_matrix.toarray])
def test_what_is_infinite_in_one_group_is_not_so_in_the_rest(layout, method):
    x = counts(60, 30, dtype="float64")
    x.data[[5, 50, 77]] = np.inf
    assert_same_outcome(lambda a: sc.tl.rank_genes_groups(a, "kind", pts=True, method=method), layout(x))


def test_the_base_of_the_logarithm_is_undone():
    call = lambda adata: sc.tl.rank_genes_groups(adata, "kind")
    assert_same_outcome(call, counts(60, 30), before=lambda a: sc.pp.log1p(a, base=2))


@pytest.mark.parametrize("method", TESTS)
@pytest.mark.parametrize("mask", [None, np.arange(60) % 4 != 0], ids=["all", "some"])
def test_scaled_values_are_ranked_as_in_memory(method, mask):
    def before(adata):
        logarithms(adata)
        sc.pp.scale(adata, max_value=2, mask_obs=mask)

    call = lambda adata: sc.tl.rank_genes_groups(adata, "kind", use_raw=False, pts=True, method=method)
    assert_same_outcome(call, counts(60, 30), before=before)


def test_a_view_is_ranked_as_in_memory():
    memory, lazy = pair(counts(60, 30))
    views = []
    for adata in (memory, lazy):
        logarithms(adata)
        views.append(adata[::-2, 5:].copy())
        sc.tl.rank_genes_groups(views[-1], "kind", pts=True)
    assert_same_anndata(*views)
    assert_same(*(sc.get.rank_genes_groups_df(view, None) for view in views))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"pts": True}, {"reference": "k1"}, {"groups": ["k0", "k1"]}, {"method": "wilcoxon", "pts": True}],
    ids=str,
)
def test_it_takes_one_pass_for_all_groups(arguments):
    lazy = pair(counts(60, 30))[1]
    sc.pp.log1p(lazy)
    assert passes_of(lambda: sc.tl.rank_genes_groups(lazy, "kind", **arguments)) == 1


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"method": "unknown"}, ValueError),
        ({"corr_method": "unknown"}, ValueError),
        ({"groups": "k0"}, ValueError),
        ({"groups": 1}, ValueError),
        ({"reference": "absent"}, ValueError),
        ({"groups": ["absent", "k0"]}, IndexError),
        ({"use_raw": True}, ValueError),
        ({"mask_var": "absent"}, ValueError),
        ({"mask_var": np.ones(3, dtype=bool)}, ValueError),
        ({"groupby": "absent"}, KeyError),
    ],
    ids=str,
)
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(arguments, error):
    arguments = {"groupby": "kind"} | arguments
    assert_same_error(lambda a: sc.tl.rank_genes_groups(a, **arguments), *pair(counts(30, 12)), error)


def test_a_layer_excludes_raw():
    memory, lazy = pair(counts(30, 12))
    for adata in (memory, lazy):
        adata.raw = adata.copy()
        adata.layers["logarithms"] = adata.X.copy()
    call = lambda a: sc.tl.rank_genes_groups(a, "kind", layer="logarithms", use_raw=True)
    assert_same_error(call, memory, lazy, ValueError)


def test_a_group_of_one_cell_is_refused_as_in_scanpy():
    memory, lazy = pair(counts(30, 12))
    for adata in (memory, lazy):
        adata.obs["kind"] = pd.Categorical(["single"] + ["many"] * 29)
    assert_same_error(lambda a: sc.tl.rank_genes_groups(a, "kind"), memory, lazy, ValueError)


def test_raw_counts_are_remarked_upon_as_in_scanpy():
    log = assert_same_log(lambda a: sc.tl.rank_genes_groups(a, "kind"), *pair(counts(30, 12)))
    assert "raw count data" in log
    logarithmic = pair(counts(30, 12))
    for adata in logarithmic:
        sc.pp.log1p(adata)
    assert "raw count data" not in assert_same_log(lambda a: sc.tl.rank_genes_groups(a, "kind"), *logarithmic)


def test_a_test_that_needs_all_values_is_left_to_scanpy():
    assert_same_outcome(
        lambda a: sc.tl.rank_genes_groups(a, "kind", method="logreg"), counts(60, 30), before=logarithms
    )


@pytest.mark.parametrize("method", ["t-test", "wilcoxon"])
@pytest.mark.parametrize("arguments", [{}, {"reference": "b"}], ids=str)
def test_a_single_cell_of_no_selected_group_is_warned_of_as_in_memory(arguments, method):
    memory, lazy = pair(counts(20, 12))
    for adata in (memory, lazy):
        adata.obs["some"] = pd.Categorical(["a"] * 9 + ["b"] * 10 + ["c"])
    assert_same_warnings(
        lambda a: sc.tl.rank_genes_groups(a, "some", groups=["a", "b"], method=method, **arguments), memory, lazy
    )
