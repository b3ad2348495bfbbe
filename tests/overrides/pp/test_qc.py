from __future__ import annotations

import warnings

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ...comparison import assert_same, assert_same_error, assert_same_outcome, assert_same_warnings, passes_of
from ...matrices import as_held, counts, pair
from .strategies import DTYPES, FORMATS, expression

ARGUMENTS = [
    {"percent_top": (1, 5, 20)},
    {"percent_top": None},
    {"percent_top": [7, 3]},
    {"percent_top": (5,), "qc_vars": "mt"},
    {"percent_top": (5,), "qc_vars": ["mt", "few"], "log1p": False},
    {"percent_top": (5,), "qc_vars": ("few",), "expr_type": "umis", "var_type": "features"},
    {"percent_top": (), "qc_vars": ["positions"]},
    {"percent_top": (2,), "layer": "counts"},
]


def prepared(adata):
    adata.var["few"] = np.arange(adata.n_vars) % 5 == 0
    adata.var["positions"] = np.arange(adata.n_vars)[::-1]
    adata.layers["counts"] = adata.X.copy()


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_metrics_are_scanpy_s_for_all_arguments(arguments, inplace):
    call = lambda adata: sc.pp.calculate_qc_metrics(adata, **arguments, inplace=inplace)
    assert_same_outcome(call, counts(40, 22), before=prepared)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_metrics_have_scanpy_s_dtypes_for_every_dtype_of_x(dtype, kind):
    x = counts(20, 9, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.pp.calculate_qc_metrics(a, qc_vars=["mt"], percent_top=(2, 9), inplace=True), x)


@settings(max_examples=60)
@given(x=expression(negative=True, fractions=True), data=st.data())
def test_metrics_are_scanpy_s_for_any_matrix(x, data):
    arguments = {
        "percent_top": data.draw(st.lists(st.integers(1, x.shape[1]), max_size=3)),
        "qc_vars": data.draw(st.sampled_from([(), ["mt"], ["mt", "few"]])),
        "log1p": data.draw(st.booleans()),
        "inplace": data.draw(st.booleans()),
    }
    # sums of whole numbers, halves and quarters are exact
    assert_same_outcome(lambda a: sc.pp.calculate_qc_metrics(a, **arguments), x, before=prepared, rtol=1e-15)


def test_metrics_of_raw_are_its_own():
    memory, lazy = pair(counts(30, 12))
    for adata in (memory, lazy):
        adata.raw = adata.copy()
        sc.pp.log1p(adata)
    call = lambda adata: sc.pp.calculate_qc_metrics(adata, use_raw=True, percent_top=(3,), qc_vars=["mt"])
    assert_same(call(memory), call(lazy))


def test_metrics_of_a_view_and_of_lazy_values_are_those_of_memory():
    memory, lazy = pair(counts(30, 12))
    for adata in (memory, lazy):
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)
    views = [adata[::-2, [5, 3, 4]] for adata in (memory, lazy)]
    assert_same(*(sc.pp.calculate_qc_metrics(view, percent_top=(2,), qc_vars=["mt"]) for view in views))


def test_explicit_zeros_count_as_zeros():
    x = counts(20, 10)
    x.data[::3] = 0
    assert_same_outcome(lambda a: sc.pp.calculate_qc_metrics(a, percent_top=(3,)), x)


@pytest.mark.parametrize("qc_vars", [(), ["mt"], ["mt", "few"]])
@pytest.mark.parametrize("percent_top", [None, (1,), (1, 2, 5)])
def test_it_takes_one_pass_whatever_is_asked_for(percent_top, qc_vars):
    lazy = pair(counts(30, 12))[1]
    prepared(lazy)
    arguments = {"percent_top": percent_top, "qc_vars": qc_vars, "inplace": True}
    assert passes_of(lambda: sc.pp.calculate_qc_metrics(lazy, **arguments)) == 1
    known = percent_top is None and not qc_vars
    assert passes_of(lambda: sc.pp.calculate_qc_metrics(lazy, **arguments)) == (0 if known else 1)


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"percent_top": (5, 23)}, IndexError),
        ({"percent_top": (0, 5)}, IndexError),
        ({}, IndexError),  # the default goes up to 500
        ({"qc_vars": ["absent"], "percent_top": None}, KeyError),
        ({"layer": "absent", "percent_top": None}, KeyError),
        ({"use_raw": True, "layer": "counts"}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(arguments, error):
    memory, lazy = pair(counts(20, 22))
    for adata in (memory, lazy):
        adata.layers["counts"] = adata.X.copy()
    assert_same_error(lambda a: sc.pp.calculate_qc_metrics(a, **arguments, inplace=True), memory, lazy, error)


def test_parallel_is_deprecated_as_in_scanpy():
    call = lambda adata: sc.pp.calculate_qc_metrics(adata, parallel=True, percent_top=None)
    texts = assert_same_warnings(call, *pair(counts(10, 5)))
    assert any("parallel" in text for text in texts)
    with pytest.warns(FutureWarning, match="parallel") as caught:
        call(pair(counts(10, 5))[1])
    assert caught[0].filename == __file__


def test_cells_without_counts_give_nan_and_no_warning():
    memory, lazy = pair(sparse.csr_matrix((4, 6), dtype="f4"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        obs, _ = sc.pp.calculate_qc_metrics(lazy, percent_top=(2,), qc_vars=["mt"])
    assert obs["pct_counts_in_top_2_genes"].isna().all()
    assert_same(sc.pp.calculate_qc_metrics(memory, percent_top=(2,), qc_vars=["mt"])[0], obs)


def test_what_is_not_in_x_is_left_to_scanpy():
    memory, lazy = pair(counts(10, 5))
    for adata in (memory, lazy):
        adata.layers["dense"] = np.ones(adata.shape)
    call = lambda a: sc.pp.calculate_qc_metrics(a, layer="dense", percent_top=None)
    assert passes_of(lambda: call(lazy)) == 0
    assert_same(call(memory), call(lazy))


@pytest.mark.parametrize("form", as_held)
@pytest.mark.parametrize("tops", [(1,), (2, 5), (9,)])
@pytest.mark.parametrize("factors", [[-1, 1], [-1, 0, 1]], ids=["no zeros", "stored zeros"])
def test_shares_of_values_below_zero_are_those_of_what_is_stored(tops, form, factors):
    x = counts(30, 12, density=0.6)
    x.data *= np.random.default_rng(0).choice(factors, x.nnz)
    assert_same_outcome(lambda a: sc.pp.calculate_qc_metrics(a, percent_top=tops), as_held[form](x))


@pytest.mark.parametrize("form", as_held)
@pytest.mark.parametrize("n_vars", [12, 7])
@pytest.mark.parametrize("chosen", [slice(None), slice(1, 6)], ids=["all columns", "some columns"])
def test_zeros_that_are_stored_are_not_stored_afterwards(chosen, n_vars, form):
    x = counts(30, 12, density=0.6)[:, :n_vars]
    x.data[::3] = 0
    memory, lazy = (adata[:, chosen].copy() for adata in pair(as_held[form](x)))
    for adata in (memory, lazy):
        adata.layers["before"] = adata.X.copy()
        sc.pp.calculate_qc_metrics(adata, percent_top=None)
    for name in (None, "before"):
        held = [a.X if name is None else a.layers[name] for a in (memory, lazy)]
        assert form == "dense" or held[0].nnz == held[1].nnz


def test_a_matrix_without_zeros_is_left_as_it_is_and_so_is_what_is_chosen_of_it():
    _, lazy = pair(counts(30, 12, density=0.6))
    sc.pp.filter_genes(lazy, min_cells=1)
    chosen = lazy[:, 2:9].copy()
    sc.pp.calculate_qc_metrics(chosen, percent_top=None)
    assert chosen.X.chain.transforms == ()
    assert chosen.X.stores_no_zeros
