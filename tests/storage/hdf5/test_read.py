from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scanpy_oom.errors import CorruptFileError, NotAnH5adError
from scanpy_oom.storage.codecs import pipeline as codecs
from scanpy_oom.storage.codecs.pipeline import MissingFilterError
from scanpy_oom.storage.hdf5.read import read_h5ad

if TYPE_CHECKING:
    from scanpy_oom.storage.sources.base import Source


@pytest.fixture
def adata() -> ad.AnnData:
    adata = ad.AnnData(
        sparse.random(30, 12, density=0.3, format="csr", random_state=np.random.default_rng(0), dtype="f4")
    )
    adata.obs["group"] = pd.Categorical(["b", "a", "c"] * 10, categories=["c", "b", "a"], ordered=True)
    adata.obs["name"] = [f"n{i}" for i in range(30)]
    adata.obs["nullable"] = pd.array([1, None, 3] * 10)
    adata.var["flag"] = [True, False] * 6
    adata.obsm["X_pca"] = np.arange(60.0).reshape(30, 2)
    adata.obsm["frame"] = pd.DataFrame({"a": range(30)}, index=adata.obs_names)
    adata.varm["PCs"] = np.ones((12, 2))
    adata.obsp["distances"] = sparse.eye_array(30, format="csr")
    adata.uns["nested"] = {"colors": np.array(["red", "blue"]), "n": 3}
    adata.layers["csc"] = adata.X.tocsc()
    adata.layers["dense"] = adata.X.toarray().astype("f8")
    adata.raw = adata.copy()
    return adata[:, 2:].copy()


@pytest.fixture
def path(adata, tmp_path):
    adata.write_h5ad(tmp_path / "x.h5ad", compression="gzip")
    return tmp_path / "x.h5ad"


def _edit(path, name, value) -> None:
    with h5py.File(path, "a") as h5:
        del h5[name]
        if value is not None:
            h5[name] = value


def test_all_is_as_anndata_reads_it(path, load, assert_same):
    assert_same(read_h5ad(path, load), ad.read_h5ad(path))


def test_matrices_go_through_wrap_and_nothing_else_does(path, load):
    seen = []

    def wrap(source: Source):
        seen.append((source.location, source.format))
        return load(source)

    read_h5ad(path, wrap)
    expected = [("X", "csr"), ("layers/csc", "csc"), ("layers/dense", "dense"), ("raw/X", "csr")]
    assert sorted(seen) == [(f"x.h5ad:/{name}", format) for name, format in expected]


def test_reading_fetches_nothing_of_the_matrices(path):
    sources = {}

    def wrap(source: Source):
        sources[source.location] = source
        return np.zeros(source.shape)

    read_h5ad(path, wrap)
    assert {source.bytes_read for source in sources.values()} == {0}


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_matrix.toarray])
def test_matrix_of_each_kind_is_as_anndata_reads_it(adata, tmp_path, load, assert_same, kind):
    adata.X = kind(adata.X)
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert_same(read_h5ad(tmp_path / "x.h5ad", load), ad.read_h5ad(tmp_path / "x.h5ad"))


def test_file_without_matrix_is_read(adata, tmp_path, load, assert_same):
    adata.X = None
    adata.write_h5ad(tmp_path / "x.h5ad")
    found = read_h5ad(tmp_path / "x.h5ad", load)
    assert found.X is None
    assert_same(found, ad.read_h5ad(tmp_path / "x.h5ad"))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_files_are_read(tmp_path, load, shape, assert_same):
    ad.AnnData(sparse.csr_matrix(shape, dtype="f4")).write_h5ad(tmp_path / "x.h5ad")
    assert_same(read_h5ad(tmp_path / "x.h5ad", load), ad.read_h5ad(tmp_path / "x.h5ad"))


def test_matrices_of_other_kinds_are_read_as_anndata_reads_them(path, load, adata, assert_same):
    with h5py.File(path, "a") as h5:
        frame = pd.DataFrame(np.ones(adata.shape), index=adata.obs_names, columns=adata.var_names)
        ad.io.write_elem(h5["layers"], "frame", frame)
        ad.io.write_elem(h5["layers"], "complex", adata.X.astype("c8"))
    assert_same(read_h5ad(path, load), ad.read_h5ad(path))


def test_annotated_data_in_uns_are_read_whole(path, load, adata, assert_same):
    with h5py.File(path, "a") as h5:
        ad.io.write_elem(h5["uns"], "inner", ad.AnnData(adata.X.copy()))
    found = read_h5ad(path, load)
    assert_same(found.uns["inner"], ad.read_h5ad(path).uns["inner"])


def test_warnings_are_those_of_anndata(tmp_path, load):
    adata = ad.AnnData(np.ones((3, 2), "f4"), obs=pd.DataFrame(index=list("aab")), var=pd.DataFrame(index=list("gg")))
    adata.write_h5ad(tmp_path / "x.h5ad")
    said = []
    for read in (ad.read_h5ad, lambda path: read_h5ad(path, load)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(tmp_path / "x.h5ad")
        said.append(sorted(str(warning.message) for warning in caught))
    assert said[0] == said[1]
    assert any("not unique" in message for message in said[0])


@pytest.mark.parametrize("name", ["X", "raw/X", "layers/csc", "layers"])
def test_link_to_another_file_is_followed(path, load, tmp_path, assert_same, name):
    with h5py.File(path, "a") as h5, h5py.File(tmp_path / "other.h5", "w") as other:
        h5.copy(name, other, "elsewhere")
        del h5[name]
        h5[name] = h5py.ExternalLink("other.h5", "elsewhere")
    seen = []

    def wrap(source: Source):
        seen.append(source.location)
        return load(source)

    with pytest.warns(UserWarning, match=rf"x\.h5ad refers to .* are read as well: /{name} in other\.h5\."):
        found = read_h5ad(path, wrap)
    assert_same(found, ad.read_h5ad(path))
    assert len(seen) == 4
    assert any(location.startswith("other.h5:/elsewhere") for location in seen)


def test_path_may_be_a_string(path, load, assert_same):
    assert_same(read_h5ad(str(path), load), read_h5ad(path, load))


def test_no_file_stays_open_but_those_of_the_sources(path, load, n_open_files):
    before = n_open_files()
    sources = []

    def wrap(source: Source):
        sources.append(source)
        return np.zeros(source.shape)

    read_h5ad(path, wrap)
    assert len(sources) == 4
    for source in sources:
        assert n_open_files() == before + 1  # which all matrices of a file share
        source.close()
    assert n_open_files() == before


def test_missing_file_is_named(tmp_path, load):
    with pytest.raises(FileNotFoundError, match=r"There is no such file: .*missing\.h5ad"):
        read_h5ad(tmp_path / "missing.h5ad", load)


def test_folder_is_refused(tmp_path, load):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_h5ad(tmp_path, load)


def test_file_that_is_not_hdf5_is_refused(tmp_path, load):
    (tmp_path / "x.h5ad").write_text("gene,cell\n")
    with pytest.raises(NotAnH5adError, match=r"x\.h5ad is not an HDF5 file"):
        read_h5ad(tmp_path / "x.h5ad", load)


def test_hdf5_file_of_another_kind_is_refused(tmp_path, load):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5["matrix/data"] = [1]
    with pytest.raises(NotAnH5adError, match=r"x\.h5 .* no obs and no var \(it holds matrix\).*read_10x_h5"):
        read_h5ad(tmp_path / "x.h5", load)


def test_truncated_file_is_corrupt(path, load):
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CorruptFileError, match=r"x\.h5ad cannot be opened.*truncated"):
        read_h5ad(path, load)


def test_encoding_that_anndata_does_not_know_is_refused_as_by_anndata(path, load):
    with h5py.File(path, "a") as h5:
        h5["X"].attrs["encoding-type"] = "csr"
    with pytest.raises(Exception, match="encoding_type='csr'") as expected:
        ad.read_h5ad(path)
    with pytest.raises(type(expected.value), match="encoding_type='csr'"):
        read_h5ad(path, load)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("X", r"/X has the shape \(31, 10\), and there are annotations of 30 observations and 10 variables"),
        ("raw/X", r"/raw/X has the shape \(31, 12\), and there are annotations of 30 observations and 12 variables"),
        ("layers/csc", r"has an indptr of 11 entries where 1000 are expected"),
    ],
)
def test_shape_that_contradicts_the_annotations_is_refused(path, load, name, message):
    with h5py.File(path, "a") as h5:
        group = h5[name]
        n_rows, n_cols = group.attrs["shape"]
        if name == "layers/csc":
            group.attrs["shape"] = (n_rows, 999)
        else:
            group.attrs["shape"] = (n_rows + 1, n_cols)
            indptr = group["indptr"][:]
            del group["indptr"]
            group["indptr"] = np.append(indptr, indptr[-1])
    with pytest.raises(CorruptFileError, match=message):
        read_h5ad(path, load)


def test_dense_layer_that_contradicts_the_annotations_is_refused(path, load):
    _edit(path, "layers/dense", np.zeros((30, 9)))
    with pytest.raises(CorruptFileError, match=r"/layers/dense has the shape \(30, 9\)"):
        read_h5ad(path, load)


def test_damage_is_named_with_the_file(path, load):
    with h5py.File(path, "a") as h5:
        h5["X/indices"][5] = 77
    with pytest.raises(CorruptFileError, match=r"x\.h5ad: /X/indices holds 77 at position 5"):
        read_h5ad(path, load)


def test_missing_filter_is_said_before_anything_is_read(path, load, adata, monkeypatch, assert_same):
    import hdf5plugin

    _edit(path, "X", None)
    with h5py.File(path, "a") as h5:
        ad.io.write_elem(h5, "X", adata.X, dataset_kwargs=dict(hdf5plugin.Zstd()))
    found = read_h5ad(path, load)
    assert_same(found.X, adata.X)
    available = h5py.h5z.filter_avail
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != 32015 and available(code))
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingFilterError, match=r"x\.h5ad:/X/\w+ is compressed .*'zstd'.*pip install hdf5plugin"):
        read_h5ad(path, load)
