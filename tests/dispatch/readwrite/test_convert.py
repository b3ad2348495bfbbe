"""What is in memory, or open with ``backed="r"``, gives what it gives in memory once it is out of memory."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import OOMMatrix

from ...comparison import assert_same_anndata
from ...matrices import annotated, counts, dense


@pytest.fixture
def path(tmp_path):
    adata = annotated(counts(60, 30))
    adata.raw = adata.copy()
    adata.layers["half"] = adata.X * 0.5
    adata.layers["dense"] = adata.X.toarray()
    adata.obsm["coordinates"] = np.arange(120.0).reshape(60, 2)
    adata.uns["nested"] = {"a": [1, 2]}
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


OPENED = {
    "in memory": lambda path: ad.read_h5ad(path),
    "a view": lambda path: ad.read_h5ad(path)[5:50:2, np.arange(30)[::-1]],
    "backed": lambda path: ad.read_h5ad(path, backed="r"),
    "a view of what is backed": lambda path: ad.read_h5ad(path, backed="r")[np.arange(60) % 3 > 0, 2:20],
    "out of memory": lambda path: sc.read_h5ad(path, backed="oom"),
}


@pytest.fixture(params=OPENED)
def opened(request, path):
    return OPENED[request.param](path)


def test_all_of_it_is_as_before(opened):
    want, got = opened.to_memory(), scanpy_oom.to_oom(opened)
    assert not got.is_view
    assert list(got.layers) == list(opened.layers)
    matrices = [got.X, got.raw.X, *(layer for name, layer in got.layers.items() if name)]
    assert all(isinstance(matrix, OOMMatrix) for matrix in matrices)
    assert_same_anndata(want, got)
    got.uns["nested"]["a"][0] = 3
    assert opened.uns["nested"]["a"][0] == 1


def test_scanpy_gives_what_it_gives_in_memory(opened):
    want, got = opened.to_memory(), scanpy_oom.to_oom(opened)
    for adata in (want, got):
        sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=9)
        sc.pp.pca(adata, n_comps=4)
    assert isinstance(got.X, OOMMatrix)
    assert_same_anndata(want, got)


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.tocsc(), lambda x: x.tocoo(), lambda x: x.toarray()])
def test_a_matrix_keeps_its_values(make):
    x = make(counts(20, 10))
    matrix = scanpy_oom.to_oom(x)
    assert matrix.dtype == x.dtype
    np.testing.assert_array_equal(matrix.toarray(), x if isinstance(x, np.ndarray) else x.toarray())
    assert scanpy_oom.to_oom(matrix) is matrix


KINDS = [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.csc_matrix]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x,
        lambda x: x[0],
        lambda x: x[:, [1, 2]],
        lambda x: x[np.array([0, 3]), np.array([1, 2])],
        lambda x: x.sum(axis=0),
        lambda x: x.max(axis=1),
        lambda x: x.T,
        lambda x: x.todense(),
        np.log1p,
    ],
)
def test_arrays_stay_arrays_and_matrices_matrices(kind, expression):
    x = kind(counts(20, 10))
    want, got = expression(x), expression(scanpy_oom.to_oom(x))
    got = got.to_memory() if isinstance(got, OOMMatrix) else got
    assert type(got) is type(want)
    np.testing.assert_allclose(dense(got), dense(want))


@pytest.mark.parametrize("kind", KINDS)
def test_joined_arrays_are_an_array(kind):
    parts = [ad.AnnData(kind(counts(20, 10))), ad.AnnData(sparse.csr_matrix(counts(5, 10)))]
    want = ad.concat(parts, index_unique="-").X
    got = ad.concat([scanpy_oom.to_oom(part) for part in parts], index_unique="-").X.to_memory()
    assert type(got) is type(want)
    assert (got != want).nnz == 0


def test_an_array_keeps_its_byte_order():
    x = counts(20, 10).toarray().astype(">f4")
    matrix = scanpy_oom.to_oom(x)
    for found in (matrix.to_memory(), matrix[3:9], np.asarray(matrix), matrix.T.to_memory()):
        assert found.dtype == ">f4"
    np.testing.assert_array_equal(matrix.to_memory(), x)
    assert np.log1p(matrix).to_memory().dtype == np.log1p(x).dtype


def test_a_file_that_may_be_written_to_is_refused(path):
    backed = ad.read_h5ad(path, backed="r+")
    with pytest.raises(ValueError, match=r"a\.h5ad was opened with backed='r\+'"):
        scanpy_oom.to_oom(backed)
    backed.file.close()


@pytest.mark.parametrize("data", ["text", np.array(["a"]), np.arange(3), None])
def test_what_is_no_matrix_is_refused(data):
    with pytest.raises(TypeError, match="matrix of numbers"):
        scanpy_oom.to_oom(data)
