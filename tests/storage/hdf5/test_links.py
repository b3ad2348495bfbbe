"""What a file says is in other files: followed and warned of, or refused; links within a file are neither."""

from __future__ import annotations

import pickle
import warnings

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scanpy_oom import OOMError, settings
from scanpy_oom.storage.hdf5.open import open_source
from scanpy_oom.storage.hdf5.tenx import open_tenx

from ...matrices import annotated, counts


@pytest.fixture
def path(tmp_path):
    adata = annotated(counts(30, 12))
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    adata.obsm["X_pca"] = np.arange(60.0).reshape(30, 2)
    adata.write_h5ad(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


@pytest.fixture
def no_links():
    settings.follow_links = False
    yield
    settings.follow_links = None


def _external_link(path, name):
    with h5py.File(path, "a") as h5, h5py.File(path.parent / "other.h5", "w") as other:
        h5.copy(name, other, "elsewhere")
        del h5[name]
        h5[name] = h5py.ExternalLink("other.h5", "/elsewhere")


def _external_storage(path, name):
    with h5py.File(path, "a") as h5:
        values, attrs = h5[name][:], dict(h5[name].attrs)
        (path.parent / "other.h5").write_bytes(values.tobytes())
        del h5[name]
        where = [(str(path.parent / "other.h5"), 0, values.nbytes)]
        h5.create_dataset(name, shape=values.shape, dtype=values.dtype, external=where).attrs.update(attrs)


def _virtual_dataset(path, name):
    with h5py.File(path, "a") as h5, h5py.File(path.parent / "other.h5", "w") as other:
        h5.copy(name, other, "elsewhere")
        attrs = dict(h5[name].attrs)
        layout = h5py.VirtualLayout(h5[name].shape, h5[name].dtype)
        layout[:] = h5py.VirtualSource("other.h5", "elsewhere", h5[name].shape)
        del h5[name]
        h5.create_virtual_dataset(name, layout).attrs.update(attrs)


KINDS = {
    "external link to X": (_external_link, "X"),
    "external link to layers": (_external_link, "layers"),
    "external link to a layer": (_external_link, "layers/counts"),
    "external link to raw": (_external_link, "raw"),
    "external link to obs": (_external_link, "obs"),
    "external link to obsm": (_external_link, "obsm/X_pca"),
    "external storage of values": (_external_storage, "X/data"),
    "external storage of coordinates": (_external_storage, "obsm/X_pca"),
    "virtual values": (_virtual_dataset, "layers/counts/data"),
    "virtual coordinates": (_virtual_dataset, "obsm/X_pca"),
}


@pytest.mark.parametrize(("link", "name"), KINDS.values(), ids=KINDS)
def test_what_is_in_other_files_is_read_with_a_warning_that_names_them(path, link, name):
    link(path, name)
    want = ad.read_h5ad(path)
    with pytest.warns(UserWarning, match=rf"x\.h5ad refers to .* read as well: /{name} in \S*other\.h5\.") as caught:
        adata = sc.read_h5ad(path, backed="oom")
    (warning,) = [warning for warning in caught if "other files" in str(warning.message)]
    assert warning.filename == __file__
    np.testing.assert_array_equal(adata.X.toarray(), want.X.toarray())
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), want.layers["counts"].toarray())
    np.testing.assert_array_equal(adata.raw.X.toarray(), want.raw.X.toarray())
    np.testing.assert_array_equal(adata.obsm["X_pca"], want.obsm["X_pca"])
    pd.testing.assert_frame_equal(adata.obs, want.obs)


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize(("link", "name"), KINDS.values(), ids=KINDS)
def test_what_is_in_other_files_is_refused_if_links_are_not_to_be_followed(path, link, name):
    link(path, name)
    message = rf"x\.h5ad refers to .* in other files: /{name} in \S*other\.h5\. They are not read.*follow_links = True"
    with pytest.raises(OOMError, match=message):
        sc.read_h5ad(path, backed="oom")
    with pytest.raises(OOMError, match=message):
        open_source(path, "/X")


def test_a_matrix_that_was_pickled_is_refused_where_links_are_not_followed(path):
    _external_link(path, "obs")
    pickled = pickle.dumps(open_source(path, "/X"))
    assert pickle.loads(pickled).shape == (30, 12)
    settings.follow_links = False
    try:
        with pytest.raises(OOMError, match="/obs in other"):
            pickle.loads(pickled)
    finally:
        settings.follow_links = None


@pytest.mark.usefixtures("no_links")
def test_links_within_a_file_are_followed_without_a_word(path):
    with h5py.File(path, "a") as h5:
        h5["layers/soft"] = h5py.SoftLink("/X")
        h5["layers/hard"] = h5["X"]
        virtual = h5py.VirtualLayout((30, 2), "f8")
        virtual[:] = h5py.VirtualSource(h5["obsm/X_pca"])
        attrs = dict(h5["obsm/X_pca"].attrs)
        h5.create_virtual_dataset("obsm/X_virtual", virtual).attrs.update(attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adata = sc.read_h5ad(path, backed="oom")
    for name in ("soft", "hard"):
        np.testing.assert_array_equal(adata.layers[name].toarray(), adata.X.toarray())
    np.testing.assert_array_equal(adata.obsm["X_virtual"], adata.obsm["X_pca"])


def test_a_file_that_is_missing_is_said_to_be(path):
    _virtual_dataset(path, "obsm/X_pca")
    (path.parent / "other.h5").unlink()
    with pytest.warns(UserWarning, match=r"/obsm/X_pca in other\.h5 \(missing\)"):
        adata = sc.read_h5ad(path, backed="oom")
    np.testing.assert_array_equal(adata.obsm["X_pca"], ad.read_h5ad(path).obsm["X_pca"])


def test_of_many_links_some_are_named(path):
    with h5py.File(path, "a") as h5:
        for i in range(50):
            h5[f"uns/{i:02}"] = h5py.ExternalLink("x.h5ad", "/X")
    with pytest.warns(UserWarning, match=r"/uns/00 in x\.h5ad, .*/uns/04 in x\.h5ad and 45 more"):
        sc.read_h5ad(path, backed="oom")


@pytest.fixture
def tenx(tmp_path):
    matrix, path = counts(20, 8, dtype="int32"), tmp_path / "x.h5"
    with h5py.File(path, "w") as h5:
        group = h5.create_group("mm10")
        group["data"], group["indptr"] = matrix.data, matrix.indptr.astype(np.int64)
        group["indices"], group["shape"] = matrix.indices.astype(np.int64), np.array([8, 20], dtype=np.int32)
        group["barcodes"] = np.array([f"cell{i}-1" for i in range(20)], dtype="S")
        group["genes"] = group["gene_names"] = np.array([f"gene{j}" for j in range(8)], dtype="S")
    _external_link(path, "mm10/barcodes")
    return path


def test_links_in_a_file_of_cell_ranger_are_warned_of(tenx):
    with pytest.warns(UserWarning, match=r"x\.h5 refers to .*: /mm10/barcodes in other\.h5\."):
        adata = sc.read_10x_h5(tenx, backed="oom")
    np.testing.assert_array_equal(adata.X.toarray(), sc.read_10x_h5(tenx).X.toarray())


@pytest.mark.usefixtures("no_links")
def test_links_in_a_file_of_cell_ranger_are_refused_if_they_are_not_to_be_followed(tenx):
    for read in (lambda: sc.read_10x_h5(tenx, backed="oom"), lambda: open_tenx(tenx, "/mm10")):
        with pytest.raises(OOMError, match=r"x\.h5 refers to .*: /mm10/barcodes in other\.h5\."):
            read()
