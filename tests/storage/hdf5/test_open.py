from __future__ import annotations

import pickle

import anndata as ad
import h5py
import numpy as np
import pytest
from anndata.io import write_elem

from scanpy_oom.errors import CorruptFileError, OOMError
from scanpy_oom.storage.hdf5.open import open_source
from scanpy_oom.storage.sources.open import is_streamable


def test_matrices_are_opened_by_name(write_h5ad, counts, to_scipy):
    matrix = counts(20, 10)
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        h5.copy("X", "layers/counts")
        h5.copy("X", "raw/X")
    for name in ("/X", "/layers/counts", "/raw/X"):
        source = open_source(path, name)
        assert source.location == f"x.h5ad:{name}"
        assert (to_scipy(source) != matrix).nnz == 0


def test_name_that_the_file_does_not_hold_is_refused(write_h5ad, counts):
    with pytest.raises(KeyError, match=r"x\.h5ad holds no /layers/counts"):
        open_source(write_h5ad(counts(20, 10)), "/layers/counts")


def test_what_is_no_matrix_is_refused(write_h5ad, counts):
    with pytest.raises(TypeError, match=r"x\.h5ad: /obs is no matrix of numbers"):
        open_source(write_h5ad(counts(20, 10)), "/obs")


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((2, 2), "c8"), np.zeros((2, 2), "S3")])
def test_only_matrices_of_numbers_are_streamed(tmp_path, values):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5["X"] = values
        assert not is_streamable(h5["X"])


def test_complex_sparse_matrices_are_not_streamed(write_h5ad, counts):
    with h5py.File(write_h5ad(counts(20, 10, dtype="c8"))) as h5:
        assert not is_streamable(h5["X"])


@pytest.mark.parametrize("shape", [[20], [20, 2**31], [-1, 10], [20.5, 10.0]])
def test_impossible_shape_is_refused(write_h5ad, counts, shape):
    path = write_h5ad(counts(20, 10))
    with h5py.File(path, "a") as h5:
        h5["X"].attrs["shape"] = shape
    with pytest.raises(CorruptFileError, match=r"x\.h5ad: /X has the shape"):
        open_source(path)


def test_a_shape_of_whole_floats_is_taken_as_anndata_takes_it(write_h5ad, counts, to_scipy):
    matrix = counts(20, 10)
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        h5["X"].attrs["shape"] = [20.0, 10.0]
    assert ad.read_h5ad(path).shape == (20, 10)
    assert (to_scipy(open_source(path)) != matrix).nnz == 0


def test_layout_before_anndata_0_7_is_read(write_h5ad, counts, to_scipy):
    matrix = counts(20, 10)
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        attrs = h5["X"].attrs
        attrs["h5sparse_format"], attrs["h5sparse_shape"] = "csr", attrs["shape"]
        for name in ("shape", "encoding-type", "encoding-version"):
            del attrs[name]
    assert (to_scipy(open_source(path)) != matrix).nnz == 0


@pytest.mark.parametrize("linked", ["X", "X/data"])
def test_links_to_other_files_are_followed_or_refused(write_h5ad, counts, to_scipy, linked):
    matrix = counts(20, 10)
    write_h5ad(matrix, "other.h5ad")
    path = write_h5ad(counts(20, 10, seed=1))
    with h5py.File(path, "a") as h5:
        del h5[linked]
        h5[linked] = h5py.ExternalLink("other.h5ad", linked)
    if linked == "X":
        source = pickle.loads(pickle.dumps(open_source(path)))
        assert source.location == "other.h5ad:/X"
        assert (to_scipy(source) != matrix).nnz == 0
    else:
        with pytest.raises(OOMError, match=r"x\.h5ad: /X/data is a link to .*other\.h5ad"):
            open_source(path)


def test_links_within_a_file_are_followed(write_h5ad, counts, to_scipy):
    matrix = counts(20, 10)
    path = write_h5ad(matrix)
    with h5py.File(path, "a") as h5:
        h5["layers/soft"] = h5py.SoftLink("/X")
        h5["layers/hard"] = h5["X"]
    for name in ("/layers/soft", "/layers/hard"):
        assert (to_scipy(pickle.loads(pickle.dumps(open_source(path, name)))) != matrix).nnz == 0


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_user_block_before_the_file_is_legal(tmp_path, counts, to_scipy, options):
    matrix = counts(20, 10)
    path = tmp_path / "x.h5ad"
    with h5py.File(path, "w", userblock_size=1024) as h5:
        write_elem(h5, "X", matrix, dataset_kwargs=options)
    assert (to_scipy(open_source(path)) != matrix).nnz == 0
