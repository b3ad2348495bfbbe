from __future__ import annotations

import pickle

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

import scanpy_oom
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same_anndata, assert_same_error, assert_same_outcome, passes_of
from ...matrices import annotated, counts, dense, pair
from .strategies import DTYPES, FORMATS, expression

ARGUMENTS = [
    {"counts_per_cell": 12},
    {"counts_per_cell": 12, "replace": True, "random_state": 3},
    {"counts_per_cell": list(range(300))},
    {"counts_per_cell": 5, "copy": True},
    {"total_counts": 500},
    {"total_counts": 300, "replace": True, "random_state": 5},
    {"total_counts": 10**9},
    {},
    {"counts_per_cell": 5, "total_counts": 5},
    {"counts_per_cell": [1, 2]},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda a: str(a)[:40])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_drawn_are_scanpy_s(dtype, kind, arguments):
    x = counts(300, 20, dtype=dtype, density=0.5)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda adata: sc.pp.downsample_counts(adata, **arguments), x)


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("arguments", [{"counts_per_cell": 12}, {"total_counts": 500}], ids=str)
def test_counts_drawn_of_reordered_cells_and_genes_are_scanpy_s(arguments, kind, order):
    if kind == "dense" and order == "columns" and "total_counts" in arguments:
        pytest.skip("scanpy drops what it draws of an array whose columns were reordered")
    x = counts(300, 20, density=0.5)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    rng = np.random.default_rng(0)
    where = (rng.permutation(300), slice(None)) if order == "rows" else (slice(None), rng.permutation(20))
    memory, lazy = (adata[where].copy() for adata in pair(x))
    for adata in (memory, lazy):
        sc.pp.downsample_counts(adata, **arguments)
    np.testing.assert_array_equal(dense(lazy.X), dense(memory.X))


@settings(max_examples=60)
@given(x=expression(huge=False), target=st.integers(0, 40), replace=st.booleans(), seed=st.integers(0, 2**31))
def test_counts_drawn_are_scanpy_s_on_any_matrix(x, target, replace, seed):
    # of a matrix of zeros scanpy's kernel reads what lies before an empty array, when it is asked for no counts
    assume(target > 0 or x.sum() > 0)
    for name in ("counts_per_cell", "total_counts"):
        call = lambda adata, n=name: sc.pp.downsample_counts(adata, **{n: target}, replace=replace, random_state=seed)
        assert_same_outcome(call, x)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("value", [np.inf, np.nan, 1e19, 1e30])
def test_totals_that_are_no_number_of_counts_raise_what_scanpy_raises(value, kind, replace):
    x = counts(30, 20, density=0.5)
    x.data[7] = value
    memory, lazy = pair(x.toarray() if kind == "dense" else x)
    call = lambda adata: sc.pp.downsample_counts(adata, total_counts=20, replace=replace)
    assert_same_error(call, memory, lazy, ValueError)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_counts_below_zero_are_drawn_from_as_scanpy_does(kind, replace):
    x = counts(30, 20, density=0.5)
    x.data[::5] *= -1
    x = x.toarray() if kind == "dense" else x
    assert_same_outcome(lambda adata: sc.pp.downsample_counts(adata, total_counts=20, replace=replace), x)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("arguments", [{"total_counts": 50}, {"total_counts": 400, "replace": True}], ids=str)
def test_fractions_are_summed_up_with_the_rounding_of_their_type(dtype, arguments):
    def call(adata):
        sc.pp.normalize_total(adata, target_sum=13)
        sc.pp.downsample_counts(adata, **arguments)

    for seed in range(5):
        assert_same_outcome(call, counts(40, 20, seed=seed, dtype=dtype))


def test_sums_that_single_precision_rounds_are_rounded_as_in_scanpy():
    x = counts(300, 20)
    x.data[:] = 2.0**18 + np.arange(x.nnz) % 7
    call = lambda adata: sc.pp.downsample_counts(adata, total_counts=3000, replace=True)
    assert_same_outcome(call, x)


def test_one_pass_and_a_result_that_no_longer_needs_the_file(tmp_path):
    annotated(counts(300, 20)).write_h5ad(tmp_path / "a.h5ad")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    source = lazy.X.source
    assert passes_of(lambda: sc.pp.downsample_counts(lazy, counts_per_cell=5)) == 1
    assert isinstance(lazy.X, OOMMatrix)
    source.close()
    assert lazy.X.sum(axis=1).max() == 5


def test_what_follows_works_on_the_counts_drawn(tmp_path):
    memory, lazy = pair(counts(300, 20))
    for adata in (memory, lazy):
        sc.pp.downsample_counts(adata, counts_per_cell=9)
        sc.pp.filter_cells(adata, min_counts=2)
        sc.pp.log1p(adata)
    assert_same_anndata(memory, lazy)
    lazy.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(dense(ad.read_h5ad(tmp_path / "a.h5ad").X), dense(memory.X))


def test_counts_do_not_depend_on_threads(monkeypatch):
    found = []
    for n_threads in (1, 3):
        monkeypatch.setattr(scanpy_oom.settings, "_n_threads", n_threads)
        _, lazy = pair(counts(3000, 20))
        sc.pp.downsample_counts(lazy, counts_per_cell=9)
        found.append(dense(lazy.X))
    np.testing.assert_array_equal(*found)


def test_counts_that_lie_in_scratch_space_are_pickled():
    _, lazy = pair(counts(30, 20))
    sc.pp.downsample_counts(lazy, counts_per_cell=9)
    again = pickle.loads(pickle.dumps(lazy.X))
    np.testing.assert_array_equal(dense(again), dense(lazy.X))
    assert again.dtype == lazy.X.dtype


def test_drawing_more_counts_at_once_than_fit_is_refused_and_changes_nothing(monkeypatch):
    _, lazy = pair(counts(300, 20))
    lazy.X = lazy.X.astype("float64").transform(_times(1e7))
    before = lazy.X._state
    with pytest.raises(MemoryBudgetExceeded, match="counts_per_cell"):
        sc.pp.downsample_counts(lazy, total_counts=10**9)
    assert lazy.X._state is before


def _times(factor):
    from scanpy_oom.matrix.transforms import Elementwise

    return Elementwise("multiply", factor)


def test_a_view_becomes_an_object_of_its_own():
    memory, lazy = pair(counts(60, 12))
    before = lazy.X._state
    own, view = memory[::2, 1:].copy(), lazy[::2, 1:]
    sc.pp.downsample_counts(own, counts_per_cell=5)
    sc.pp.downsample_counts(view, counts_per_cell=5)
    assert_same_anndata(own, view)
    assert lazy.X._state is before


@pytest.mark.parametrize("arguments", [{}, {"counts_per_cell": [1, 2]}], ids=str)
def test_arguments_that_do_not_work_are_scanpy_s_errors(arguments):
    call = lambda adata: sc.pp.downsample_counts(adata, **arguments)
    assert_same_error(call, *pair(counts(20, 8)), ValueError)


def test_a_fraction_of_a_count_is_scanpy_s_error():
    call = lambda adata: sc.pp.downsample_counts(adata, counts_per_cell=2.5)
    assert_same_error(call, *pair(counts(20, 8)), (TypeError, ValueError))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_total_that_is_no_number_ends_as_in_scanpy(value, kind):
    x = counts(8, 5).toarray()
    x[3, 2] = value
    outcomes = []
    for adata in pair(x if kind == "dense" else sparse.csr_matrix(x).asformat(kind)):
        try:
            with np.errstate(invalid="ignore"):
                sc.pp.downsample_counts(adata, total_counts=9)
        except Exception as error:  # noqa: BLE001
            outcomes.append((type(error), str(error)))
        else:
            outcomes.append(dense(adata.X).tolist())
    assert repr(outcomes[0]) == repr(outcomes[1])


@pytest.mark.parametrize("arguments", [{"counts_per_cell": 2}, {"total_counts": 9}], ids=str)
def test_half_precision_is_scanpy_s_error(arguments):
    call = lambda adata: sc.pp.downsample_counts(adata, **arguments)
    assert_same_error(call, *pair(counts(20, 8).toarray().astype(np.float16)), NotImplementedError)
