from __future__ import annotations

import warnings

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse

from scanpy_oom.errors import CorruptFileError
from scanpy_oom.storage.hdf5.read import read_h5ad

RAW = sparse.random(6, 8, density=0.5, format="csr", random_state=np.random.default_rng(0), dtype="f4")

pytestmark = pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")


def _write_sparse(h5, name, matrix) -> None:
    group = h5.create_group(name)
    group.attrs["h5sparse_format"] = "csr"
    group.attrs["h5sparse_shape"] = matrix.shape
    for key in ("data", "indices", "indptr"):
        group.create_dataset(key, data=getattr(matrix, key), chunks=(5,), maxshape=(None,), compression="gzip")


def _frame(n_rows: int, **columns) -> np.ndarray:
    frame = np.zeros(n_rows, dtype=[("index", "S5"), *((name, values.dtype) for name, values in columns.items())])
    frame["index"] = [f"i{i}".encode() for i in range(n_rows)]
    for name, values in columns.items():
        frame[name] = values
    return frame


@pytest.fixture(params=["csr", "dense", "none"])
def path(request, tmp_path):
    """A file as anndata 0.6 laid it out."""
    path = tmp_path / "old.h5ad"
    X = RAW[:, :5]
    with h5py.File(path, "w") as h5:
        h5["obs"] = _frame(6, louvain=np.array([0, 1, 1, 0, 1, 0], "i1"), n=np.arange(6.0))
        h5["var"] = _frame(5, kind=np.array([b"x", b"y", b"x", b"y", b"z"], "S1"))
        h5["obsm"] = np.array([((i, i + 1),) for i in range(6)], dtype=[("X_pca", "f8", (2,))])
        h5["uns/louvain_categories"] = np.array([b"B cell", b"T cell"], "S6")
        h5["uns/pca/variance"] = np.arange(3.0)
        if request.param == "csr":
            _write_sparse(h5, "X", X)
        elif request.param == "dense":
            h5["X"] = X.toarray()
        _write_sparse(h5, "layers/counts", X)
        if request.param != "none":
            _write_sparse(h5, "raw.X", RAW)
            h5["raw.var"] = _frame(8)
    return path


def test_all_is_as_anndata_reads_it(path, load, assert_same):
    seen = []

    def wrap(source):
        seen.append(source.location)
        return load(source)

    found = read_h5ad(path, wrap)
    assert_same(found, ad.read_h5ad(path))
    assert list(found.obs["louvain"].cat.categories) == ["B cell", "T cell"]
    with h5py.File(path) as h5:
        expected = {f"old.h5ad:/{name}" for name in ("X", "raw.X", "layers/counts") if name in h5}
    assert set(seen) == expected


def test_single_column_is_read_as_anndata_reads_it(tmp_path, load):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as h5:
        h5["obs"], h5["var"], h5["X"] = _frame(6), _frame(1), np.arange(6.0, dtype="f4")
    messages = []
    for read in (ad.read_h5ad, lambda path: read_h5ad(path, load)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                messages.append(read(path).X.tolist())
            except ValueError as error:
                messages.append(str(error))
    assert messages[0] == messages[1]


def test_damage_is_named_with_the_file(path, load):
    with h5py.File(path, "a") as h5:
        h5["layers/counts/indices"][3] = -4
    with pytest.raises(CorruptFileError, match=r"old\.h5ad: /layers/counts/indices holds -4 at position 3"):
        read_h5ad(path, load)


@pytest.mark.parametrize("frame", ["obs", "var", "raw.var"])
def test_annotations_of_another_length_are_refused_with_the_file(path, load, frame):
    with h5py.File(path, "a") as h5:
        if frame not in h5:
            pytest.skip("a file without raw")
        n = h5[frame].shape[0] + 1
        del h5[frame]
        h5[frame] = _frame(n)
    with pytest.raises(CorruptFileError, match=rf"old\.h5ad: /.* has the shape .* annotations of .*{n} "):
        read_h5ad(path, load)
