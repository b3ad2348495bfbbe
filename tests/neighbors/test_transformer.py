from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsTransformer

import scanpy_oom
from scanpy_oom.neighbors import KNNTransformer

from ..matrices import annotated, counts
from .points import clustered


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_graphs_are_those_of_scikit_learn(metric, dtype):
    x = clustered(1500, 10, dtype=dtype)
    ours = KNNTransformer(n_neighbors=9, metric=metric)
    found = ours.fit_transform(x)
    want = KNeighborsTransformer(n_neighbors=9, metric=metric, algorithm="brute").fit_transform(x)
    assert found.shape == want.shape
    np.testing.assert_array_equal(found.indptr, want.indptr)
    np.testing.assert_allclose(found.data, want.data, rtol=1e-4, atol=2e-6)
    assert np.mean(found.indices == want.indices) > 0.999
    np.testing.assert_array_equal(found.indices[::10], np.arange(1500))
    assert ours.recall_ == 1
    assert ours.n_features_in_ == 10


def test_other_cells_find_their_neighbors_among_those_of_the_fit():
    x, others = clustered(2000, 10), clustered(300, 10, seed=1)
    want = KNeighborsTransformer(n_neighbors=4, algorithm="brute").fit(x).transform(others)
    for exact_up_to in (0, 10**6):
        # the two buckets are all searched
        found = KNNTransformer(4, exact_up_to=exact_up_to).fit(x).transform(others)
        assert found.shape == (300, 2000)
        np.testing.assert_array_equal(found.indices, want.indices)
        np.testing.assert_allclose(found.data, want.data, rtol=1e-5)


def test_parameters_are_those_of_an_estimator():
    ours = KNNTransformer(7, metric="cosine")
    assert (
        clone(ours).get_params()
        == ours.get_params()
        == {
            "n_neighbors": 7,
            "metric": "cosine",
            "recall": 0.995,
            "exact_up_to": 50_000,
        }
    )
    assert ours.set_params(n_neighbors=3).n_neighbors == 3
    with pytest.raises(NotFittedError):
        ours.transform(clustered(10))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"n_neighbors": 30}, "Expected n_neighbors < n_samples_fit, but n_neighbors = 30, n_samples_fit = 30"),
        ({"metric": "manhattan"}, "metric must be one of 'euclidean', 'cosine', 'correlation', not 'manhattan'"),
        ({"recall": 0}, "recall must be above 0 and at most 1"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        KNNTransformer(**parameters).fit(clustered(30))


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinity"), (-np.inf, "NaN or infinity"), (1e200, "too large to be squared")],
)
def test_coordinates_that_are_no_numbers_are_refused(value, message):
    x = clustered(30, dtype=np.float64)
    x[3, 4] = value
    with pytest.raises(ValueError, match=message):
        KNNTransformer(5).fit(x)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        KNNTransformer(5).fit(x[0])
    with pytest.raises(ValueError, match="must be real numbers"):
        KNNTransformer(5).fit(x.astype(complex))
    with pytest.raises(ValueError, match="X has 4 features, but KNNTransformer is expecting 50"):
        KNNTransformer(5).fit(clustered(30)).transform(x[:, :4])


def test_tables_are_read_wherever_they_lie(tmp_path):
    x = np.round(clustered(9000, 6), 1)
    x[x < 0] = 0
    want = KNNTransformer(5).fit_transform(x)
    in_buckets = KNNTransformer(5, exact_up_to=0).fit_transform(x)
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", dtype=np.float32, mode="r", shape=x.shape)
    adata = annotated(sparse.csr_matrix(x))
    adata.write_h5ad(tmp_path / "x.h5ad")
    matrix = scanpy_oom.read_h5ad(tmp_path / "x.h5ad").X
    for table in (mapped, sparse.csr_matrix(x), sparse.csc_matrix(x), np.asfortranarray(x), matrix):
        found = KNNTransformer(5).fit_transform(table)
        assert (found != want).nnz == 0
        found = KNNTransformer(5, exact_up_to=0).fit_transform(table)
        assert (found != in_buckets).nnz == 0


def test_whole_numbers_and_rows_without_length_have_distances():
    x = np.random.default_rng(0).integers(0, 3, (50, 4))
    x[:2] = 0
    x[2] = 1
    found = KNNTransformer(49, metric="cosine").fit_transform(x).toarray()
    assert found[0, 1] == 0
    np.testing.assert_allclose(found[0, 2:], 1)
    found = KNNTransformer(49, metric="correlation").fit_transform(x).toarray()
    assert found[0, 2] == 0  # nor have constant rows
    assert KNNTransformer(5).fit_transform(x).nnz == 300


def test_one_that_is_fitted_is_copied_and_pickled():
    x = np.random.default_rng(0).normal(size=(60, 4))
    fitted = KNNTransformer(5).fit(x)
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.transform(x[:9]).toarray(), fitted.transform(x[:9]).toarray())


def test_scanpy_takes_it(tmp_path):
    adata = annotated(counts(60, 40, density=0.5))
    adata.obsm["X_pca"] = clustered(60, 10)
    sc.pp.neighbors(adata, transformer=KNNTransformer(7), method="gauss")
    assert adata.uns["neighbors"]["params"]["n_neighbors"] == 7
    assert adata.obsp["connectivities"].shape == (60, 60)
