from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix

from ....comparison import (
    assert_same_anndata,
    assert_same_error,
    assert_same_log,
    assert_same_outcome,
    assert_same_warnings,
    passes_of,
)
from ....matrices import counts, pair
from ...pp.strategies import FORMATS, expression

RTOL = 1e-9
ARGUMENTS = [
    {},
    {"n_top_genes": 300},
    {"batch_key": "batch"},
    {"batch_key": "kind", "subset": True},
    {"batch_key": "text", "inplace": False},
    {"theta": 1},
    {"theta": 0.01, "clip": 2},
    {"clip": 0},
    {"clip": 1.5},
    {"clip": np.inf},
    {"check_values": False},
    {"layer": "counts", "chunksize": 7},
    {"inplace": False},
    {"inplace": False, "subset": True},
]


def hvg(adata, **arguments):
    return sc.experimental.pp.highly_variable_genes(adata, **{"n_top_genes": 9, **arguments})


def full(n_obs=60, n_vars=40, **kwargs) -> sparse.csr_matrix:
    """Counts of which no cell is empty: of such, scanpy has no residuals."""
    x = counts(n_obs, n_vars, **kwargs)
    return x[np.flatnonzero(x.sum(axis=1).A1 > 0)]


def prepared(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.obs["text"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_genes_and_their_ranks_are_scanpy_s_for_all_arguments(arguments):
    assert_same_outcome(lambda adata: hvg(adata, **arguments), full(), before=prepared, rtol=RTOL)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16", "bool"])
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_ranks_are_scanpy_s_for_every_dtype_and_format(dtype, kind, batch_key):
    x = full(150, 300, density=0.2).astype(dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda adata: hvg(adata, n_top_genes=100, batch_key=batch_key), x, rtol=RTOL)


@settings(max_examples=60)
@given(
    x=expression(fractions=True),
    batch_key=st.sampled_from([None, "batch", "kind"]),
    theta=st.sampled_from([0.1, 100]),
    clip=st.sampled_from([None, 0.5, 30.0]),
)
def test_variances_are_scanpy_s_on_any_matrix(x, batch_key, theta, clip):
    # many genes are alike: of these, scanpy ranks rounding errors, so all are taken
    memory, lazy = pair(x)
    wraps = x.dtype.kind in "iu" and float(x.max()) ** 2 > np.iinfo(x.dtype).max  # scanpy's squares of whole numbers
    columns = ["means", "residual_variances"] if wraps else ["means", "variances", "residual_variances"]
    found = []
    for adata in (memory, lazy):
        try:
            df = hvg(adata, n_top_genes=x.shape[1], batch_key=batch_key, theta=theta, clip=clip, inplace=False)
        except ZeroDivisionError as error:
            found.append(type(error))
        else:
            found.append(df[columns].to_numpy())
    largest = np.nanmax(np.abs(found[0]), axis=0, initial=1)
    assert (np.abs(found[1] - found[0]) <= 1e-6 * largest)[~np.isnan(found[0])].all()
    np.testing.assert_array_equal(np.isnan(found[1]), np.isnan(found[0]))


@settings(max_examples=20)
@example(x=np.array([[-2.0, 2, -3, -2], [-2, 0, -1, 2]]))  # where the last gene adds up to nothing
@example(x=np.array([[-4.0, 0, 4], [1, 0, -3]]))  # where the first cell does
@given(x=expression(formats=("dense",), negative=True, dtypes=("float64", "int64")))
def test_negative_values_of_a_dense_array_are_taken_as_scanpy_takes_them(x):
    call = lambda adata: hvg(adata, inplace=False)["residual_variances"].to_numpy()
    memory, lazy = pair(x)
    np.testing.assert_allclose(call(lazy), call(memory), rtol=1e-6, atol=1e-6)


def test_negative_values_of_a_sparse_matrix_are_left_to_scanpy():
    x = full()
    x.data[::9] *= -1
    assert_same_outcome(lambda adata: hvg(adata, check_values=False), x, rtol=RTOL)
    _, lazy = pair(x)
    hvg(lazy)
    assert pass_log.recent()[-1].reductions == ("CollectSparse",)


def test_two_passes_for_any_number_of_batches_and_one_after_quality_control():
    _, lazy = pair(full(300, 80))
    lazy.obs["many"] = (np.arange(lazy.n_obs) % 6).astype(str)
    assert passes_of(lambda: hvg(lazy, batch_key="many")) == 2
    assert passes_of(lambda: hvg(lazy)) == 2
    assert passes_of(lambda: hvg(lazy)) == 1  # sums were kept
    _, lazy = pair(full(300, 80))
    sc.pp.calculate_qc_metrics(lazy, percent_top=None, inplace=True)
    assert passes_of(lambda: hvg(lazy)) == 1


def test_what_is_planned_is_what_is_done():
    _, lazy = pair(full())
    for key in ("batch", None, None):
        planned = len(lazy.oom.explain("experimental.pp.highly_variable_genes", n_top_genes=9, batch_key=key).passes)
        assert planned == passes_of(lambda key=key: hvg(lazy, batch_key=key))


def test_a_transformed_matrix_is_ranked_as_it_is():
    call = lambda adata: (sc.pp.sqrt(adata), hvg(adata))[1]
    assert_same_outcome(call, full(), rtol=1e-6)


def test_a_view_becomes_an_anndata_of_its_own():
    memory, lazy = (adata[::2, ::-1] for adata in pair(full(80, 60)))
    for adata in (memory, lazy):
        hvg(adata)
    assert_same_anndata(memory, lazy, rtol=RTOL)
    assert isinstance(lazy.X, OOMMatrix)
    assert not lazy.is_view


@pytest.mark.parametrize("change", ["halves", "none"])
def test_values_that_are_no_counts_are_warned_of(change):
    x = full()
    if change == "halves":
        x.data[0] = 0.5
    given_ = assert_same_warnings(hvg, *pair(x))
    assert bool(given_) == (change == "halves")


def test_a_log_is_scanpy_s():
    assert "highly_variable_rank" in assert_same_log(hvg, *pair(full()))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"theta": 0}, ValueError),
        ({"clip": -1}, ValueError),
        ({"flavor": "seurat"}, ValueError),
        ({"n_top_genes": None}, ValueError),
        ({"batch_key": "none"}, KeyError),
        ({"layer": "none"}, KeyError),
    ],
    ids=str,
)
def test_bad_arguments_are_scanpy_s_errors_and_change_nothing(arguments, error):
    assert_same_error(lambda adata: hvg(adata, **arguments), *pair(full()), error)


def test_no_genes_have_no_variances_as_in_scanpy():
    call = lambda a: sc.experimental.pp.highly_variable_genes(a, n_top_genes=1)
    assert_same_outcome(call, sparse.csr_matrix((6, 0), dtype="float32"))


@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_no_cells_are_no_batch_as_in_scanpy(batch_key):
    memory, lazy = (adata[:0].copy() for adata in pair(full()))
    assert_same_error(lambda a: hvg(a, n_top_genes=3, batch_key=batch_key), memory, lazy, ValueError)
