from __future__ import annotations

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
    passes_of,
)
from ...matrices import annotated, counts, dense, oom, pair
from .strategies import DTYPES, FORMATS, expression

ARGUMENTS = [
    {},
    {"max_value": 1.5},
    {"zero_center": False},
    {"zero_center": False, "max_value": 1},
    {"layer": "counts", "max_value": 2},
    {"mask_obs": "chosen"},
    {"mask_obs": "chosen", "max_value": 1},
    {"mask_obs": "chosen", "zero_center": False, "max_value": 1},
    {"copy": True},
]


def prepared(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.obs["chosen"] = np.arange(adata.n_obs) % 3 != 1


@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_scaled_counts_are_scanpy_s_to_the_last_bit_for_all_arguments(arguments, kind):
    x = counts(20, 12)
    x = x if kind == "csr" else x.toarray()
    assert_same_outcome(lambda a: sc.pp.scale(a, **arguments), x, before=prepared, rtol=0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_counts_are_scanpy_s_to_the_last_bit_for_every_dtype_and_format(dtype, kind):
    x = counts(20, 12, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    for zero_center in (True, False):
        assert_same_outcome(lambda a, z=zero_center: sc.pp.scale(a, zero_center=z, max_value=1.5), x, rtol=0)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_scaled_logarithms_are_scanpy_s_to_the_last_bit(arguments):
    def before(adata):
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)
        prepared(adata)

    # sums of single-precision values are exact in double precision
    assert_same_outcome(lambda a: sc.pp.scale(a, **arguments), counts(50, 12), before=before, rtol=0)


@pytest.mark.parametrize("zero_center", [True, False])
def test_squares_of_a_masked_csc_matrix_are_rounded_as_in_scanpy(zero_center):
    # of one value the variance is what rounding leaves
    x = sparse.csc_matrix(np.array([[0, 63.7, 0.1, 7.25, 5.5677643]], dtype="f4"))
    call = lambda a: sc.pp.scale(a, zero_center=zero_center, mask_obs="chosen")
    assert_same_outcome(call, x, before=prepared, rtol=1e-14, x_rtol=1e-14)


@pytest.mark.parametrize("arguments", [{}, {"zero_center": False}, {"mask_obs": "chosen"}], ids=str)
def test_squares_of_a_csc_file_are_rounded_as_in_scanpy(tmp_path, arguments):
    x = counts(300, 40).tocsc()
    x.data *= np.float32(0.37)
    adata = annotated(x)
    prepared(adata)
    adata.write_h5ad(tmp_path / "csc.h5ad", compression="gzip")
    memory, lazy = (sc.read_h5ad(tmp_path / "csc.h5ad", backed=backed) for backed in (None, "oom"))
    for each in (memory, lazy):
        sc.pp.log1p(each)
        sc.pp.scale(each, **arguments)
    # squares that were rounded to single precision would be off by 1e-9
    name = "std of chosen" if "mask_obs" in arguments else "std"
    np.testing.assert_allclose(lazy.var[name], memory.var[name], rtol=1e-14)
    in_memory = memory.X if isinstance(memory.X, np.ndarray) else memory.X.toarray()
    np.testing.assert_allclose(dense(lazy.X), in_memory, rtol=2**-23)


@pytest.mark.parametrize("zero_center", [True, False])
def test_a_masked_csc_matrix_is_held_by_rows_only_where_nothing_is_centred(zero_center):
    memory, lazy = pair(counts(12, 5).tocsc())
    for adata in (memory, lazy):
        prepared(adata)
        sc.pp.scale(adata, zero_center=zero_center, mask_obs="chosen")
    assert lazy.X.to_memory().format == memory.X.format == ("csc" if zero_center else "csr")


@settings(max_examples=100)
@given(x=expression(negative=True, fractions=True), data=st.data())
def test_scaled_values_are_scanpy_s_for_any_matrix(x, data):
    arguments = {
        "zero_center": data.draw(st.booleans()),
        "max_value": data.draw(st.sampled_from([None, 0.5, 2])),
        "mask_obs": data.draw(st.sampled_from([None, "chosen"])),
    }
    assert_same_outcome(lambda a: sc.pp.scale(a, **arguments), x, before=prepared, rtol=1e-14, x_rtol=1e-14)


@settings(max_examples=40)
@given(x=expression(huge=False), seed=st.integers(0, 99))
def test_subsets_of_scaled_values_are_those_of_memory(x, seed):
    def work(adata):
        rng = np.random.default_rng(seed)
        sc.pp.scale(adata, max_value=1, mask_obs=rng.random(adata.n_obs) < 0.5)
        adata._inplace_subset_obs(rng.permutation(adata.n_obs)[: max(adata.n_obs // 2, 1)])
        adata._inplace_subset_var(rng.permutation(adata.n_vars)[: max(adata.n_vars // 2, 1)])

    assert_same_outcome(work, x, rtol=1e-14, x_rtol=1e-14)


def test_a_mask_may_be_an_array():
    mask = np.arange(20) < 12
    assert_same_outcome(lambda a: sc.pp.scale(a, mask_obs=mask), counts(20, 9))


def test_scaling_twice_and_transforms_on_top_give_what_memory_gives():
    def work(adata):
        sc.pp.scale(adata, zero_center=False)
        sc.pp.log1p(adata)
        sc.pp.scale(adata, max_value=1)
        sc.pp.scale(adata, zero_center=False)

    assert_same_outcome(work, counts(20, 9, dtype="float64"), rtol=1e-12, x_rtol=1e-12)


@pytest.mark.parametrize("arguments", [{}, {"zero_center": False, "max_value": 1}, {"max_value": 1}], ids=str)
@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_it_takes_a_matrix(kind, arguments):
    x = counts(20, 9)
    x = x if kind == "csr" else x.toarray()
    for more in ({}, {"mask_obs": np.arange(20) < 12}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = sc.pp.scale(x, copy=True, **arguments, **more)
        assert_same(want, sc.pp.scale(oom(x), **arguments, **more))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want, mean, std = sc.pp.scale(x, copy=True, return_mean_std=True, **arguments)
    matrix = oom(x)
    found = sc.pp.scale(matrix, return_mean_std=True, copy=True, **arguments)
    assert_same(want, found[0])
    np.testing.assert_array_equal(mean, found[1])
    np.testing.assert_array_equal(std, found[2])
    np.testing.assert_array_equal(dense(matrix), dense(x))


def test_a_copy_leaves_the_original_alone_and_a_view_becomes_its_own():
    memory, lazy = pair(counts(20, 9))
    before = lazy.X._state
    sc.pp.scale(lazy, copy=True)
    assert lazy.X._state is before
    assert "mean" not in lazy.var
    views = [adata[::-2, 3:] for adata in (memory, lazy)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for view in views:
            sc.pp.scale(view)
    assert_same_anndata(*views)
    assert isinstance(views[1].X, OOMMatrix)
    assert_same_anndata(memory, lazy)


def test_it_takes_one_pass_and_none_after_highly_variable_genes_on_which_it_stays_lazy():
    lazy = pair(counts(60, 30))[1]
    assert passes_of(lambda: sc.pp.scale(lazy.copy())) == 1
    lazy = pair(counts(60, 30))[1]
    sc.pp.log1p(lazy)
    sc.pp.highly_variable_genes(lazy, n_top_genes=10)
    lazy = lazy[:, lazy.var["highly_variable"]].copy()
    assert passes_of(lambda: sc.pp.scale(lazy, max_value=10)) == 0
    assert passes_of(lambda: sc.pp.scale(lazy, mask_obs=np.arange(60) < 12)) == 1
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"mask_obs": "absent"}, ValueError),
        ({"mask_obs": "kind"}, ValueError),
        ({"mask_obs": np.ones(5, dtype=bool)}, ValueError),
        ({"mask_obs": np.ones(10)}, ValueError),
        ({"layer": "absent"}, KeyError),
    ],
    ids=str,
)
def test_bad_arguments_raise_what_scanpy_raises_and_change_nothing(arguments, error):
    memory, lazy = pair(counts(10, 8))
    for adata in (memory, lazy):
        adata.layers["counts"] = adata.X.copy()
    assert_same_error(lambda a: sc.pp.scale(a, **arguments), memory, lazy, error)


def test_a_matrix_takes_no_layer():
    for matrix in (counts(10, 8), oom(counts(10, 8))):
        with pytest.raises(TypeError):
            sc.pp.scale(matrix, layer="counts")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_it_does_is_logged_as_in_scanpy(dtype):
    call = lambda a: sc.pp.scale(a, zero_center=False, max_value=2)
    assert "be careful" in assert_same_log(call, *pair(counts(10, 8, dtype=dtype)))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("max_value", [-1, 0, 0.5])
@pytest.mark.parametrize("arguments", [{}, {"zero_center": False}, {"mask_obs": "chosen"}], ids=str)
def test_bounds_that_are_no_bounds_cut_values_as_scanpy_does(arguments, max_value, kind):
    x = counts(20, 8)
    x.data[:3] = np.nan, np.inf, -2
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.pp.scale(a, max_value=max_value, **arguments), x, before=prepared, rtol=0)
