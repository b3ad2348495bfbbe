from __future__ import annotations

import warnings

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same, assert_same_anndata, assert_same_error, assert_same_outcome, passes_of
from ...matrices import counts, dense, oom, pair
from ...versions import before_1_13
from .strategies import FORMATS, expression

pytestmark = [
    before_1_13,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Some cells have zero counts"),
]

PER_CELL = [
    {},
    {"copy": True},
    {"counts_per_cell_after": 1e4},
    {"layers": ["l"]},
    {"layers": "all", "use_rep": "after", "counts_per_cell_after": 50},
    {"layers": "all", "use_rep": "X", "min_counts": 0},
    {"min_counts": 30},
    {"key_n_counts": "depth"},
]
DISPERSION = [
    {},
    {"copy": True},
    {"n_top_genes": 7},
    {"subset": False},
    {"log": False},
    {"min_disp": 0.1, "max_disp": 3, "min_mean": 0.01, "max_mean": 5},
    {"n_bins": 5},
]


def with_layer(adata):
    adata.layers["l"] = adata.X.copy()


def logarithms(adata):
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)


@pytest.mark.parametrize("arguments", PER_CELL, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_normalize_per_cell_is_scanpy_s(dtype, kind, arguments):
    x = counts(60, 40, dtype=dtype, density=0.5)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    # "all" layers have X among them with anndata 0.13: it is normalised twice, by totals in single precision
    x_rtol = 1e-6 if arguments.get("layers") == "all" else 0
    call = lambda adata: sc.pp.normalize_per_cell(adata, **arguments)
    assert_same_outcome(call, x, before=with_layer, x_rtol=x_rtol)


def test_normalize_per_cell_takes_counts_and_a_matrix():
    x = counts(60, 40)
    call = lambda adata: sc.pp.normalize_per_cell(adata, counts_per_cell=np.arange(60.0))
    assert_same_outcome(call, x)
    assert_same(sc.pp.normalize_per_cell(x.copy(), copy=True), sc.pp.normalize_per_cell(oom(x), copy=True))
    with pytest.raises(ValueError, match="Can only be run with copy=True"):
        sc.pp.normalize_per_cell(oom(x))
    memory, lazy = x.copy(), oom(x)
    for matrix in (memory, lazy):
        assert sc.pp.normalize_per_cell(matrix, counts_per_cell=np.arange(60.0)) is None
    assert_same(memory, lazy)


def test_normalize_per_cell_reads_nothing_after_quality_control():
    _, lazy = pair(counts(60, 40))
    sc.pp.calculate_qc_metrics(lazy, percent_top=None, inplace=True)
    assert passes_of(lambda: sc.pp.normalize_per_cell(lazy)) == 0


def test_an_unknown_use_rep_is_an_error_that_changes_nothing():
    _, lazy = pair(counts(60, 40))
    before = lazy.X._state
    with pytest.raises(ValueError, match="use_rep should be"):
        sc.pp.normalize_per_cell(lazy, use_rep="none")
    assert lazy.X._state is before
    assert list(lazy.obs) == ["kind", "batch"]


@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
@pytest.mark.parametrize("arguments", DISPERSION, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
def test_filter_genes_dispersion_is_scanpy_s(kind, arguments, flavor):
    x = counts(60, 40, density=0.5)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    call = lambda adata: sc.pp.filter_genes_dispersion(adata, flavor=flavor, **arguments)
    assert_same_outcome(call, x, before=logarithms, rtol=1e-5)
    of_matrix = lambda adata: sc.pp.filter_genes_dispersion(adata.X, flavor=flavor, **arguments)
    assert_same_outcome(of_matrix, x, before=logarithms, rtol=1e-5)


@settings(max_examples=40)
@given(x=expression(dtypes=("float32", "float64")), after=st.sampled_from([None, 100.0]), least=st.integers(0, 9))
def test_normalize_per_cell_is_scanpy_s_on_any_matrix(x, after, least):
    call = lambda adata: sc.pp.normalize_per_cell(adata, counts_per_cell_after=after, min_counts=least)
    assert_same_outcome(call, x)


def test_filter_genes_dispersion_takes_one_pass():
    _, lazy = pair(counts(60, 40))
    assert passes_of(lambda: sc.pp.filter_genes_dispersion(lazy)) == 1
    assert isinstance(lazy.X, OOMMatrix)


def test_an_unknown_flavor_is_scanpy_s_error():
    call = lambda adata: sc.pp.filter_genes_dispersion(adata, flavor="none")
    assert_same_error(call, *pair(counts(60, 40)), ValueError)


@pytest.mark.parametrize("name", ["normalize_per_cell", "filter_genes_dispersion"])
def test_both_are_deprecated_in_scanpy_s_words(name):
    texts = []
    for adata in pair(counts(60, 40)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(sc.pp, name)(adata)
        texts.append([(str(w.message), w.filename) for w in caught if w.filename == __file__])
    assert texts[0]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("arguments", [{}, {"copy": True}, {"chunked": True, "chunk_size": 7}], ids=str)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
def test_sqrt_is_scanpy_s(dtype, kind, arguments):
    x = counts(30, 12, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda adata: sc.pp.sqrt(adata, **arguments), x)
    assert_same(sc.pp.sqrt(x.copy()), sc.pp.sqrt(oom(x)))


def test_sqrt_of_a_view_makes_it_an_object_of_its_own():
    memory, lazy = pair(counts(30, 12))
    before, view = lazy.X._state, lazy[::2]
    assert passes_of(lambda: sc.pp.sqrt(view)) == 0
    np.testing.assert_array_equal(dense(view.X), np.sqrt(dense(memory.X)[::2]))
    assert lazy.X._state is before
    assert_same_anndata(memory, lazy)


@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
def test_genes_of_no_bin_are_refused_as_in_scanpy(flavor):
    x = counts(20, 12)
    x.data[:2] = np.nan
    assert_same_outcome(lambda a: sc.pp.filter_genes_dispersion(a, flavor=flavor), x)
