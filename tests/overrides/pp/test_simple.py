from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.matrix import OOMMatrix

from ...comparison import (
    assert_same,
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    passes_of,
)
from ...matrices import counts, dense, oom, pair
from .strategies import DTYPES, FORMATS, expression

FILTERS = {
    sc.pp.filter_cells: ("min_counts", "max_counts", "min_genes", "max_genes"),
    sc.pp.filter_genes: ("min_counts", "max_counts", "min_cells", "max_cells"),
}
CASES = [(function, option) for function, options in FILTERS.items() for option in options]


def filled(adata):
    """Something in every slot that a filter subsets."""
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    adata.obsm["place"] = np.arange(2.0 * adata.n_obs).reshape(-1, 2)
    adata.varm["loading"] = np.arange(3.0 * adata.n_vars).reshape(-1, 3)


@pytest.mark.parametrize("threshold", [0, 2, 7.5, 10_000])
@pytest.mark.parametrize("function, option", CASES, ids=lambda v: getattr(v, "__name__", v))
def test_filters_keep_what_scanpy_keeps_and_leave_its_columns(function, option, threshold):
    assert_same_outcome(lambda a: function(a, **{option: threshold}), counts(20, 12), before=filled)
    assert_same_outcome(lambda a: function(a, **{option: threshold}, inplace=False), counts(20, 12), before=filled)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FILTERS, ids=lambda f: f.__name__)
def test_filters_give_numbers_in_scanpy_s_dtypes(function, dtype, kind):
    x = counts(20, 9, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    for option in FILTERS[function][::2]:
        assert_same_outcome(lambda a, o=option: function(a, **{o: 5}), x)


@settings(max_examples=60)
@given(x=expression(negative=True, fractions=True), case=st.sampled_from(CASES), threshold=st.integers(-3, 40))
def test_filters_do_what_scanpy_s_do_on_any_matrix(x, case, threshold):
    function, option = case
    assert_same_outcome(lambda a: function(a, **{option: threshold}), x, rtol=1e-15)


@pytest.mark.parametrize("function, option", CASES, ids=lambda v: getattr(v, "__name__", v))
def test_filters_take_a_matrix(function, option):
    x = counts(20, 12)
    assert_same(function(x, **{option: 5}), function(oom(x), **{option: 5}))


@pytest.mark.parametrize("function", FILTERS, ids=lambda f: f.__name__)
def test_filters_copy_or_change_in_place(function):
    memory, lazy = pair(counts(20, 12))
    before = lazy.X._state
    assert_same(function(memory, min_counts=9, copy=True), function(lazy, min_counts=9, copy=True))
    assert lazy.X._state is before
    assert_same_anndata(memory, lazy)
    views = [adata[::-1, 1:] for adata in (memory, lazy)]
    for view in views:
        function(view, min_counts=9)
    assert_same_anndata(*views)
    assert isinstance(views[1].X, OOMMatrix)
    assert_same_anndata(memory, lazy)


@pytest.mark.parametrize("function", FILTERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("arguments", [{}, {"min_counts": 1, "max_counts": 5}], ids=str)
def test_filters_ask_for_one_threshold(function, arguments):
    assert_same_error(lambda a: function(a, **arguments), *pair(counts(10, 8)), ValueError)


@pytest.mark.parametrize("function", FILTERS, ids=lambda f: f.__name__)
def test_filters_know_no_other_thresholds(function):
    assert_same_error(lambda a: function(a, min_cats=3), *pair(counts(10, 8)), TypeError)


def test_filters_take_no_pass_after_the_metrics():
    lazy = pair(counts(30, 12))[1]
    sc.pp.calculate_qc_metrics(lazy, percent_top=None, inplace=True)
    cells, genes = FILTERS.values()
    for option in cells:
        assert passes_of(lambda o=option: sc.pp.filter_cells(lazy, **{o: 0 if "min" in o else 10_000})) == 0
    for option in genes:
        assert passes_of(lambda o=option: sc.pp.filter_genes(lazy, **{o: 0 if "min" in o else 10_000})) == 0
    assert passes_of(lambda: sc.pp.filter_cells(lazy, min_counts=10)) == 0
    assert lazy.n_obs < 30
    assert passes_of(lambda: sc.pp.filter_genes(lazy, min_cells=1)) == 1  # other cells: other sums


def test_subsets_copies_and_raw_take_no_pass():
    lazy = pair(counts(30, 12))[1]

    def work():
        lazy.raw = lazy
        lazy.layers["counts"] = lazy.X.copy()
        lazy[lazy.obs["kind"] == "k1", lazy.var["mt"]].copy()

    assert passes_of(work) == 0


@pytest.mark.parametrize(
    "arguments",
    [{}, {"base": 2}, {"base": 10.0}, {"layer": "counts"}, {"chunked": True, "chunk_size": 4}, {"obsm": "place"}],
    ids=str,
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_are_scanpy_s_to_the_last_bit(dtype, arguments):
    assert_same_outcome(lambda a: sc.pp.log1p(a, **arguments), counts(20, 12, dtype=dtype), before=filled)


@pytest.mark.parametrize("empty", [(slice(0, 0), slice(None)), (slice(None), slice(0, 0))], ids=["cells", "genes"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_logarithms_of_nothing_are_refused_where_scanpy_looks(kind, chunked, empty):
    x = counts(6, 4).toarray() if kind == "dense" else counts(6, 4).asformat(kind)
    outcomes = []
    for adata in pair(x):
        part = adata[empty].copy()
        try:
            sc.pp.log1p(part, chunked=chunked)
        except ValueError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(part.uns["log1p"])
    assert outcomes[0] == outcomes[1]


@settings(max_examples=60)
@given(x=expression(negative=True, fractions=True), base=st.sampled_from([None, 2, 10]))
def test_logarithms_are_scanpy_s_on_any_matrix(x, base):
    # values up to -1 have none: infinities and NaN
    assert_same_outcome(lambda a: sc.pp.log1p(a, base=base), x)


def test_log1p_copies_or_changes_in_place_also_a_view():
    memory, lazy = pair(counts(20, 12))
    before = lazy.X._state
    assert_same(sc.pp.log1p(memory, copy=True), sc.pp.log1p(lazy, copy=True))
    assert lazy.X._state is before
    views = [adata[::-1, 1:] for adata in (memory, lazy)]
    for view in views:
        sc.pp.log1p(view)
    assert_same_anndata(*views)
    assert_same_anndata(memory, lazy)


def test_log1p_takes_a_matrix_and_no_pass():
    x = counts(20, 12)
    matrix = oom(x)
    assert_same(sc.pp.log1p(x, base=2, copy=True), sc.pp.log1p(matrix, base=2, copy=True))
    np.testing.assert_array_equal(dense(matrix), x.toarray())
    lazy = pair(x)[1]
    assert passes_of(lambda: sc.pp.log1p(lazy)) == 0


def test_log1p_reports_its_arguments_as_scanpy_does():
    memory, lazy = pair(counts(10, 8))
    for adata in (memory, lazy):
        adata.layers["counts"] = adata.X.copy()
    assert_same_error(lambda a: sc.pp.log1p(a, layer="absent"), memory, lazy, KeyError)
    assert_same_error(lambda a: sc.pp.log1p(a, chunked=True, layer="counts"), memory, lazy, NotImplementedError)
    x = counts(10, 8)
    for matrix in (x, oom(x)):
        with pytest.raises(TypeError):
            sc.pp.log1p(matrix, layer="counts")


def test_log1p_says_that_it_was_done_before():
    def twice(adata):
        sc.pp.log1p(adata)
        sc.pp.log1p(adata)

    assert "already log-transformed" in assert_same_log(twice, *pair(counts(10, 8)))


def test_what_filters_remove_is_logged_as_in_scanpy():
    def work(adata):
        sc.pp.filter_cells(adata, min_genes=3)
        sc.pp.filter_cells(adata, max_counts=30)
        sc.pp.filter_genes(adata, min_counts=10)
        sc.pp.filter_genes(adata, max_cells=8)

    assert "filtered out" in assert_same_log(work, *pair(counts(20, 12)))


def test_cells_and_genes_may_all_be_removed():
    for function in FILTERS:
        memory, lazy = pair(counts(10, 8))
        for adata in (memory, lazy):
            function(adata, min_counts=10**6)
        assert_same_anndata(memory, lazy)
        assert isinstance(lazy, ad.AnnData)


@pytest.mark.parametrize("call", [lambda x: sc.pp.log1p(x), lambda x: sc.pp.scale(x, zero_center=False)])
def test_a_matrix_changes_in_place_as_in_memory(call):
    memory, lazy = counts(20, 8), oom(counts(20, 8))
    assert call(memory) is memory
    assert call(lazy) is lazy
    np.testing.assert_allclose(dense(lazy), dense(memory), rtol=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("base", [1, 0.5, np.float64(3), np.inf])
def test_what_an_odd_base_makes_of_zeros_depends_on_whether_they_are_stored(base, kind):
    x = counts(20, 12)
    x.data[:3] = 0
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.pp.log1p(a, base=base), x)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
@pytest.mark.parametrize("kind", FORMATS)
def test_logarithms_of_nothing_are_refused_as_in_memory(kind, shape):
    x = counts(*shape)
    assert_same_outcome(sc.pp.log1p, x.toarray() if kind == "dense" else x.asformat(kind))
