from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA, TruncatedSVD

from scanpy_oom.engine.runtime import pass_log

from ..matrices import counts, pair

CALLS = {
    "harmonypy": lambda adata: sc.external.pp.harmony_integrate(adata, "batch", max_iter_harmony=2),
    "bbknn": lambda adata: sc.external.pp.bbknn(adata, batch_key="batch"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", CALLS)
def test_what_works_on_components_runs_without_reading_the_matrix(package):
    pytest.importorskip(package)
    found = []
    for adata in pair(counts(300, 40)):
        adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")
        adata.obs["batch"] = adata.obs["batch"].astype("category")
        sc.pp.pca(adata, n_comps=10)
        n_passes = len(pass_log.recent())
        CALLS[package](adata)
        assert len(pass_log.recent()) == n_passes
        found.append(adata)
    memory, lazy = found
    for of_memory, of_lazy in ((memory.obsm, lazy.obsm), (memory.obsp, lazy.obsp)):
        assert of_memory.keys() == of_lazy.keys()
    if package == "harmonypy":
        np.testing.assert_allclose(lazy.obsm["X_pca_harmony"], memory.obsm["X_pca_harmony"], rtol=1e-4, atol=1e-4)
    else:
        assert (memory.obsp["connectivities"] != lazy.obsp["connectivities"]).nnz == 0


class Reducing(BaseEstimator):
    """Chooses what to do by whether data are sparse, as PHATE's graphs do and many an estimator."""

    def __init__(self, **_):
        self.chosen = None

    def fit_transform(self, data):
        x = getattr(data, "X", data)
        kind = TruncatedSVD if sparse.issparse(x) else PCA
        self.chosen = kind(3, random_state=0)
        return self.chosen.fit_transform(x)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("way", ["the matrix", "the object", "scanpy"])
def test_an_estimator_that_asks_whether_data_are_sparse_hears_what_it_hears_in_memory(kind, way, monkeypatch):
    made = []
    monkeypatch.setitem(sys.modules, "phate", SimpleNamespace(PHATE=lambda **_: made.append(Reducing()) or made[-1]))
    x = counts(60, 20)
    found = []
    for adata in pair(x.toarray() if kind == "dense" else x.asformat(kind)):
        if way == "scanpy":
            sc.external.tl.phate(adata)
            found.append(adata.obsm["X_phate"])
        else:
            made.append(Reducing())
            found.append(made[-1].fit_transform(adata if way == "the object" else adata.X))
    assert [type(estimator.chosen) for estimator in made] == [PCA if kind == "dense" else TruncatedSVD] * 2
    np.testing.assert_array_equal(*found)
