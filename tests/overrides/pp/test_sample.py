from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same, assert_same_anndata, assert_same_error, assert_same_outcome, passes_of
from ...matrices import counts, dense, oom, pair
from .strategies import FORMATS

ARGUMENTS = [
    {"n": 7},
    {"fraction": 0.4},
    {"n": 7, "axis": "var"},
    {"n": 7, "axis": 1, "copy": True},
    {"n": 40, "replace": True},
    {"n": 5, "p": "weight"},
    {"n": 5, "copy": True},
    {"fraction": 1.5, "replace": True, "copy": True},
]


def weighted(adata):
    weight = np.arange(adata.n_obs, dtype=float)
    adata.obs["weight"] = weight / weight.sum()
    adata.layers["counts"] = adata.X.copy()


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
def test_samples_are_scanpy_s_and_read_nothing(kind, arguments):
    x = counts(30, 12)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    call = lambda adata: sc.pp.sample(adata, rng=3, **arguments)
    assert_same_outcome(call, x, before=weighted)
    _, lazy = pair(x)
    weighted(lazy)
    assert passes_of(lambda: call(lazy)) == 0


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 50), replace=st.booleans(), axis=st.sampled_from(["obs", "var"]))
def test_samples_of_any_size_are_scanpy_s(seed, n, replace, axis):
    call = lambda adata: sc.pp.sample(adata, n=n, rng=seed, replace=replace, axis=axis)
    assert_same_outcome(call, counts(30, 12))


@pytest.mark.parametrize("arguments", [{"fraction": 0.5}, {"n_obs": 9}, {"n_obs": 9, "copy": True}], ids=str)
def test_subsamples_are_scanpy_s(arguments):
    assert_same_outcome(lambda adata: sc.pp.subsample(adata, random_state=4, **arguments), counts(30, 12))


def test_views_are_sampled():
    memory, lazy = (adata[::-1, 2:] for adata in pair(counts(30, 12)))
    for adata in (memory, lazy):
        sc.pp.sample(adata, n=9, rng=1)
    assert_same_anndata(memory, lazy)
    assert isinstance(lazy.X, OOMMatrix)


@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("axis", ["obs", "var"])
def test_of_a_bare_matrix_the_sample_is_read(kind, axis):
    x = counts(30, 12)
    x = x.toarray() if kind == "dense" else x
    want, got = (sc.pp.sample(matrix, n=5, rng=1, axis=axis) for matrix in (x, oom(x)))
    np.testing.assert_array_equal(want[1], got[1])
    assert_same(dense(want[0]), dense(got[0]))


def test_more_than_there_are_is_scanpy_s_error():
    assert_same_error(lambda adata: sc.pp.sample(adata, n=99, rng=0), *pair(counts(30, 12)), ValueError)
