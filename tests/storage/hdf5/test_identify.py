"""A matrix that something else reads is found in its file, or not at all."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from scanpy_oom.storage.hdf5 import identify as match
from scanpy_oom.storage.hdf5.identify import find_matrix, matrices_of_shape
from scanpy_oom.storage.sources.memory import MemorySource

from ...matrices import counts


def changed(x, row: int):
    x = x.tolil()
    x[row, 1] += 7
    return x.tocsr()


X = counts(50, 12)
LAYERS = {
    "same": X.copy(),
    "one row": changed(X, 33),
    "another row": changed(X, 34),
    "double": X.astype(np.float64),
    "by column": X.tocsc(),
    "dense": X.toarray(),
}


@pytest.fixture
def path(tmp_path):
    adata = ad.AnnData(X)
    for name, layer in LAYERS.items():
        adata.layers[name] = layer
    adata.raw = ad.AnnData(X)
    adata.obsm["same shape"] = X.toarray()
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_the_one_with_the_same_values(path, name):
    layer = LAYERS[name]
    with find_matrix(path, MemorySource(layer)) as found:
        assert found.name == ("/X" if name == "same" else f"/layers/{name}")


@pytest.mark.parametrize("row", [0, 1, 17, 49])
def test_one_row_that_differs_tells_them_apart(tmp_path, monkeypatch, row):
    monkeypatch.setattr(match, "_N_SAMPLED", 2)
    monkeypatch.setattr("scanpy_oom.storage.sources.row_reader._STEP", 12 * 9)  # steps of nine rows
    adata = ad.AnnData(X)
    adata.layers["other"] = changed(X, row)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for x, name in ((X, "/X"), (adata.layers["other"], "/layers/other")):
        with find_matrix(tmp_path / "a.h5ad", MemorySource(x)) as found:
            assert found.name == name


@pytest.mark.parametrize("x", [X * 2, X[:40], X.astype("int32"), sparse.csr_matrix(X.shape, dtype="float32")])
def test_what_the_file_does_not_hold_is_not_found(path, x):
    assert find_matrix(path, MemorySource(x)) is None


def test_nan_is_like_nan(tmp_path):
    x = X.copy()
    x.data[::3] = np.nan
    ad.AnnData(x).write_h5ad(tmp_path / "a.h5ad")
    with find_matrix(tmp_path / "a.h5ad", MemorySource(x)) as found:
        assert found.name == "/X"


def test_order_of_columns_and_explicit_zeros_do_not_matter(tmp_path):
    x = X.copy()
    x.data[::4] = 0
    ad.AnnData(x).write_h5ad(tmp_path / "a.h5ad")
    plain = x.copy()
    plain.eliminate_zeros()
    with find_matrix(tmp_path / "a.h5ad", MemorySource(plain)) as found:
        assert found.name == "/X"


def test_all_of_a_shape_and_form_are_listed(path):
    by_column = matrices_of_shape(path, X.shape, "csc")
    assert [source.name for source in by_column] == ["/layers/by column"]
    assert matrices_of_shape(path, (1, 1), "csr") == []


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("no HDF5")])
def test_without_such_a_file_there_is_none(tmp_path, make):
    make(tmp_path / "b.h5ad")
    assert matrices_of_shape(tmp_path / "b.h5ad", X.shape, "csr") == []
    assert find_matrix(tmp_path / "b.h5ad", MemorySource(X)) is None
