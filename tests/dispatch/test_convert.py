"""What is in memory, or open with ``backed="r"``, gives what it gives in memory once it is out of memory."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom import OOMMatrix

from ..comparison import assert_same_anndata
from ..matrices import annotated, counts


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


def test_a_file_that_may_be_written_to_is_refused(path):
    backed = ad.read_h5ad(path, backed="r+")
    with pytest.raises(ValueError, match=r"a\.h5ad was opened with backed='r\+'"):
        scanpy_oom.to_oom(backed)
    backed.file.close()


@pytest.mark.parametrize("data", ["text", np.array(["a"]), np.arange(3), None])
def test_what_is_no_matrix_is_refused(data):
    with pytest.raises(TypeError, match="matrix of numbers"):
        scanpy_oom.to_oom(data)
