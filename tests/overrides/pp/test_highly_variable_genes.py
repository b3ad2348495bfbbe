from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom._scanpy import SCANPY_1_12
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
from ...matrices import counts, oom, pair
from .strategies import FORMATS, expression

ARGUMENTS = [
    {},
    {"n_top_genes": 10},
    {"n_top_genes": 1},
    {"min_mean": 0.1, "max_mean": 5, "min_disp": 0.2, "max_disp": 2},
    {"n_bins": 5},
    {"n_top_genes": 10, "batch_key": "batch"},
    {"batch_key": "kind"},
    {"n_top_genes": 10, "batch_key": "text"},
    {"n_top_genes": 10, "subset": True},
    {"subset": True, "batch_key": "batch"},
    {"layer": "logarithms", "n_top_genes": 10},
    {"inplace": False},
    {"inplace": False, "subset": True, "n_top_genes": 10},
    {"inplace": False, "batch_key": "batch", "subset": True},
]
FLAVORS = ["seurat", "cell_ranger"]


def logarithms(adata):
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    adata.layers["logarithms"] = adata.X.copy()
    adata.obs["text"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_genes_and_their_statistics_are_scanpy_s_for_all_arguments(arguments, flavor):
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor=flavor, **arguments)
    assert_same_outcome(call, counts(60, 50), before=logarithms)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_genes_are_scanpy_s_for_every_dtype_and_format(flavor, dtype, kind):
    x = counts(60, 300, dtype=dtype)  # in small bins many genes are at one median absolute deviation: ties
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    call = lambda adata: sc.pp.highly_variable_genes(adata, flavor=flavor, n_top_genes=10)
    assert_same_outcome(call, x, before=logarithms, rtol=1e-5)


@pytest.mark.parametrize("base", [2, 10])
def test_the_base_of_the_logarithm_is_undone(base):
    assert_same_outcome(sc.pp.highly_variable_genes, counts(60, 50), before=lambda a: sc.pp.log1p(a, base=base))


@settings(max_examples=60)
@given(x=expression(dtypes=("float32",), huge=False), data=st.data())
def test_genes_are_scanpy_s_for_any_matrix(x, data):
    # sums of single-precision values are exact in double precision, and so ties stay ties
    arguments = {
        "flavor": data.draw(st.sampled_from(FLAVORS)),
        "n_top_genes": data.draw(st.sampled_from([None, 1, 3, 20])),
        "batch_key": data.draw(st.sampled_from([None, "batch"])),
        "n_bins": data.draw(st.sampled_from([1, 5, 20])),
        "inplace": data.draw(st.booleans()),
    }
    call = lambda adata: sc.pp.highly_variable_genes(adata, **arguments)
    assert_same_outcome(call, x, before=sc.pp.log1p, rtol=1e-12)


@pytest.mark.skipif(not SCANPY_1_12, reason="an argument of scanpy 1.12")
@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("wanted", [True, False, None])
def test_genes_that_no_cell_expresses_may_be_left_out(wanted, flavor):
    call = lambda a: sc.pp.highly_variable_genes(a, flavor=flavor, n_top_genes=10, filter_unexpressed_genes=wanted)
    assert_same_outcome(call, counts(60, 50), before=logarithms)


@pytest.mark.skipif(not SCANPY_1_12, reason="an argument of scanpy 1.12")
def test_with_batches_they_are_left_out_whatever_is_asked_for():
    memory, lazy = pair(counts(60, 50))
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
    call = lambda a: sc.pp.highly_variable_genes(a, batch_key="batch", filter_unexpressed_genes=False)
    texts = assert_same_warnings(call, memory, lazy)
    assert any("filter_unexpressed_genes is set to False" in text for text in texts)
    assert_same_anndata(memory, lazy)


def test_a_view_becomes_its_own():
    memory, lazy = pair(counts(60, 50))
    views = []
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
        views.append(adata[::-2, 10:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for view in views:
            sc.pp.highly_variable_genes(view, n_top_genes=10, subset=True)
    assert_same_anndata(*views)
    assert isinstance(views[1].X, OOMMatrix)
    assert_same_anndata(memory, lazy)


def test_cells_of_no_batch_count_for_none():
    memory, lazy = pair(counts(60, 50))
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
        adata.obs["batch"] = pd.Categorical([None, "b0", "b1"] * 20)
        sc.pp.highly_variable_genes(adata, batch_key="batch", n_top_genes=10)
    assert_same_anndata(memory, lazy)


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("batch_key", [None, "batch", "kind"])
def test_it_takes_one_pass_for_any_number_of_batches(batch_key, flavor):
    lazy = pair(counts(60, 50))[1]
    sc.pp.normalize_total(lazy, target_sum=100)
    sc.pp.log1p(lazy)
    assert passes_of(lambda: sc.pp.highly_variable_genes(lazy, batch_key=batch_key, flavor=flavor)) == 1


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"flavor": "unknown"}, ValueError),
        ({"batch_key": "absent"}, KeyError),
        ({"layer": "absent"}, KeyError),
        ({"n_bins": 0}, ValueError),
        ({"n_tops": 5}, TypeError),
    ],
    ids=str,
)
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(arguments, error):
    memory, lazy = pair(counts(30, 20))
    assert_same_error(lambda a: sc.pp.highly_variable_genes(a, **arguments), memory, lazy, error)


def test_a_matrix_is_refused_as_in_scanpy():
    for matrix in (counts(30, 20), oom(counts(30, 20))):
        with pytest.raises(ValueError, match="expects an `AnnData` argument"):
            sc.pp.highly_variable_genes(matrix)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"n_top_genes": 5, "min_disp": 0.1}, "all cutoffs are ignored"),
        ({"n_top_genes": 5, "max_mean": 4}, "all cutoffs are ignored"),
        ({"n_top_genes": 45}, "number of normalized dispersions"),
    ],
    ids=str,
)
def test_it_warns_as_scanpy_does(arguments, text):
    memory, lazy = pair(counts(30, 46, density=0.02))
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
    texts = assert_same_warnings(lambda a: sc.pp.highly_variable_genes(a, **arguments), memory, lazy)
    assert any(text in t for t in texts)


def test_what_it_does_is_logged_as_in_scanpy():
    memory, lazy = pair(counts(60, 50))
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
    assert "'highly_variable'" in assert_same_log(
        lambda a: sc.pp.highly_variable_genes(a, n_top_genes=99), memory, lazy
    )


def test_the_genes_of_real_counts_are_scanpy_s(pbmc3k):
    memory, lazy = sc.read_h5ad(pbmc3k), sc.read_h5ad(pbmc3k, backed="oom")
    for adata in (memory, lazy):
        sc.pp.filter_genes(adata, min_cells=3)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        adata.obs["batch"] = pd.Categorical(np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b"))
    for arguments in ({"flavor": "seurat"}, {"flavor": "cell_ranger", "n_top_genes": 1000, "batch_key": "batch"}):
        frames = [sc.pp.highly_variable_genes(a, inplace=False, **arguments) for a in (memory, lazy)]
        np.testing.assert_array_equal(frames[1]["highly_variable"], frames[0]["highly_variable"])
        assert_same(*frames)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float64"])
@pytest.mark.parametrize("base", [None, 2])
def test_whole_numbers_that_cannot_become_exponentials_in_place_are_refused_as_in_memory(base, dtype, kind):
    x = counts(30, 20, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)

    def logged(adata):
        adata.uns["log1p"] = {"base": base}

    if dtype != "bool" or kind == "dense":
        assert_same_outcome(sc.pp.highly_variable_genes, x, before=logged)
