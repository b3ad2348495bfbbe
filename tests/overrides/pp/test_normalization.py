from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ...comparison import (
    assert_same,
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ...matrices import counts, dense, pair
from .strategies import DTYPES, FORMATS, expression

ARGUMENTS = [
    {},
    {"target_sum": 1e4},
    {"target_sum": 1},
    {"target_sum": 0},
    {"key_added": "factor"},
    {"target_sum": 50, "key_added": "factor"},
    {"layer": "counts"},
    {"exclude_highly_expressed": True, "max_fraction": 0.3},
    {"exclude_highly_expressed": True, "max_fraction": 0.3, "target_sum": 100, "key_added": "factor"},
    {"exclude_highly_expressed": True, "max_fraction": 1},
    {"exclude_highly_expressed": True, "max_fraction": 0, "target_sum": 3},
    {"inplace": False},
    {"inplace": False, "target_sum": 7.5},
    {"copy": True, "key_added": "factor"},
]


def with_layer(adata):
    adata.layers["counts"] = adata.X.copy()


@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_values_and_factors_are_scanpy_s_to_the_last_bit_for_all_arguments(arguments, kind):
    x = counts(20, 12)
    x = x if kind == "csr" else x.toarray()
    assert_same_outcome(lambda a: sc.pp.normalize_total(a, **arguments), x, before=with_layer, rtol=0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_factors_are_scanpy_s_to_the_last_bit_for_every_dtype_and_format(dtype, kind):
    x = counts(20, 12, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    for target_sum in (None, 1e4):
        assert_same_outcome(
            lambda a, t=target_sum: sc.pp.normalize_total(a, target_sum=t, key_added="factor"), x, rtol=0
        )


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_transformed_before_is_held_by_rows_as_in_scanpy(kind):
    def work(adata):
        sc.pp.sqrt(adata)
        sc.pp.normalize_total(adata, target_sum=10)

    x = counts(20, 12)
    assert_same_outcome(work, x.toarray() if kind == "dense" else x.asformat(kind), x_rtol=1e-6)


@settings(max_examples=100)
@given(x=expression(fractions=True), data=st.data())
def test_values_and_factors_are_scanpy_s_for_any_matrix(x, data):
    arguments = {
        # the median of no counts at all is NaN
        "target_sum": data.draw(st.sampled_from([None, 1, 1e4] if x.sum() else [1, 1e4])),
        "key_added": data.draw(st.sampled_from([None, "factor"])),
        "max_fraction": data.draw(st.sampled_from([0.05, 0.5])),
    }
    arguments["exclude_highly_expressed"] = arguments["target_sum"] is not None and data.draw(st.booleans())
    assert_same_outcome(lambda a: sc.pp.normalize_total(a, **arguments), x, rtol=0)


@settings(max_examples=40)
@given(x=expression(), seed=st.integers(0, 99), again=st.booleans())
def test_steps_one_after_the_other_on_subsets_give_what_memory_gives(x, seed, again):
    def work(adata):
        rng = np.random.default_rng(seed)
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)
        adata._inplace_subset_var(rng.random(adata.n_vars) < 0.7)
        adata._inplace_subset_obs(rng.permutation(adata.n_obs)[: max(adata.n_obs // 2, 1)])
        if again:  # totals of logarithms are rounded on the way
            sc.pp.normalize_total(adata, target_sum=10)

    assert_same_outcome(work, x, x_rtol=1e-6 if again else 0)


@pytest.mark.parametrize("columns", [slice(None, None, -1), [3, 1, 4], slice(2, 3)], ids=str)
def test_totals_are_those_of_the_genes_that_a_view_shows(columns):
    memory, lazy = pair(counts(20, 12))
    views = [adata[5:, columns] for adata in (memory, lazy)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for view in views:
            sc.pp.normalize_total(view, target_sum=10)
        assert_same_anndata(*views)
    assert isinstance(views[1].X, OOMMatrix)
    assert_same_anndata(memory, lazy)


def test_a_copy_or_what_is_returned_leaves_the_original_alone():
    lazy = pair(counts(20, 12))[1]
    before = lazy.X._state
    copied = sc.pp.normalize_total(lazy, target_sum=10, copy=True)
    returned = sc.pp.normalize_total(lazy, target_sum=10, inplace=False)
    assert lazy.X._state is before
    np.testing.assert_array_equal(dense(copied.X), dense(returned["X"]))


def test_with_a_target_it_takes_no_pass_and_one_for_the_median_or_factors():
    lazy = pair(counts(20, 12))[1]
    assert passes_of(lambda: sc.pp.normalize_total(lazy.copy(), target_sum=10)) == 0
    for arguments in ({}, {"target_sum": 10, "key_added": "factor"}, {"target_sum": 10, "inplace": False}):
        lazy = pair(counts(20, 12))[1]
        assert passes_of(lambda a=arguments, x=lazy: sc.pp.normalize_total(x, **a)) == 1


def test_after_the_metrics_it_takes_no_pass_at_all():
    lazy = pair(counts(20, 12))[1]
    sc.pp.calculate_qc_metrics(lazy, percent_top=None, inplace=True)
    sc.pp.filter_cells(lazy, min_genes=2)
    for arguments in ({}, {"key_added": "factor"}, {"inplace": False}, {"target_sum": 3}):
        assert passes_of(lambda a=arguments: sc.pp.normalize_total(lazy.copy(), **a)) == 0


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"max_fraction": -0.1}, ValueError),
        ({"max_fraction": 1.5}, ValueError),
        ({"copy": True, "inplace": False}, ValueError),
        ({"layers": "all"}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(arguments, error):
    assert_same_error(lambda a: sc.pp.normalize_total(a, **arguments), *pair(counts(10, 8)), error)


def test_a_layer_that_is_not_there_raises_and_changes_nothing():
    lazy = pair(counts(10, 8))[1]
    before = lazy.X._state
    with pytest.raises(KeyError, match="absent"):
        sc.pp.normalize_total(lazy, layer="absent")
    assert lazy.X._state is before


@pytest.mark.parametrize("arguments", [{}, {"target_sum": 10, "key_added": "factor"}, {"inplace": False}], ids=str)
def test_cells_without_counts_give_scanpy_s_warning(arguments):
    texts = assert_same_warnings(lambda a: sc.pp.normalize_total(a, **arguments), *pair(counts(20, 12)))
    assert texts == ["Some cells have zero counts"]
    assert assert_same_warnings(lambda a: sc.pp.normalize_total(a[:3].copy()), *pair(counts(20, 12))) == []


def test_with_a_target_the_warning_comes_with_the_values():
    lazy = pair(counts(20, 12))[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.pp.normalize_total(lazy, target_sum=10)
    with pytest.warns(UserWarning, match="Some cells have zero counts"):
        lazy.X.to_memory()


def test_what_it_does_is_logged_as_in_scanpy():
    call = lambda a: sc.pp.normalize_total(a, exclude_highly_expressed=True, max_fraction=0.4, key_added="factor")
    assert "highly-expressed genes" in assert_same_log(call, *pair(counts(20, 12)[4:]))


def test_a_dense_x_stays_dense():
    memory, lazy = pair(counts(20, 12).toarray())
    for adata in (memory, lazy):
        sc.pp.normalize_total(adata, target_sum=10)
    assert lazy.X.is_dense
    assert_same(memory.X, lazy.X)


@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("after", [None, sc.pp.sqrt, sc.pp.scale, lambda a: sc.pp.normalize_total(a, target_sum=2)])
@pytest.mark.parametrize("arguments", [{}, {"target_sum": 10}, {"target_sum": 0}, {"target_sum": 5, "inplace": False}])
def test_zeros_of_an_array_become_nan_where_the_total_of_their_row_is_none(arguments, after, kind):
    x = counts(20, 12).toarray()
    x[[3, 3, 7, 9], [2, 5, 1, 4]] = np.nan, 1, np.inf, -np.inf
    x[11, :2] = np.inf, -np.inf

    def call(adata):
        out = sc.pp.normalize_total(adata, **arguments)
        if after is not None:
            after(adata)
        return out

    # NumPy adds up a row in single precision
    assert_same_outcome(call, x if kind == "dense" else sparse.csr_matrix(x), x_rtol=1e-6)


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_zeros_that_became_nan_count_in_every_reduction_whatever_the_size_of_blocks(monkeypatch, block):
    monkeypatch.setattr(sys.modules["scanpy_oom.engine.thread_pass"], "LARGEST_BLOCK", block)
    x = counts(20, 12).toarray()
    x[3, 2] = np.nan
    memory, lazy = pair(x)
    for adata in (memory, lazy):
        sc.pp.normalize_total(adata, target_sum=10)
    genes = [5, 2, 7]
    np.testing.assert_array_equal(dense(lazy[:, genes].X), memory[:, genes].X)
    np.testing.assert_array_equal(lazy.X.count_nonzero(axis=0), np.count_nonzero(memory.X, axis=0))
    np.testing.assert_allclose(lazy.X.sum(axis=0), memory.X.sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(lazy.X.max(axis=1), memory.X.max(axis=1))


def test_genes_of_cells_are_counted_anew_where_all_values_become_zero():
    memory, lazy = pair(counts(30, 12))
    for adata in (memory, lazy):
        sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
        sc.pp.normalize_total(adata, target_sum=0)
    assert sc.pp.filter_cells(lazy, min_genes=1, inplace=False)[1].tolist() == [0] * 30
    assert sc.pp.filter_cells(memory, min_genes=1, inplace=False)[1].tolist() == [0] * 30
