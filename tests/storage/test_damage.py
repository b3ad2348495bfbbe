"""Whatever HDF5, zarr or anndata say of a damaged file is a CorruptFileError that names it; all else is no damage."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scanpy_oom import CorruptFileError, OOMError
from scanpy_oom.storage.damage import damage_is_named, is_damage

from ..matrices import annotated, counts


def _full():
    adata = annotated(counts(40, 20))
    adata.obs["group"] = pd.Categorical(["a", "b"] * 20)
    adata.layers["dense"] = adata.X.toarray()
    adata.layers["csc"] = adata.X.tocsc()
    adata.obsp["graph"] = counts(40, 40)
    adata.uns["nested"] = {"n": np.arange(3), "text": "text"}
    adata.raw = adata.copy()
    return adata


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    path = tmp_path_factory.mktemp("h5ad") / "x.h5ad"
    _full().write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def path(h5ad, tmp_path):
    return Path(shutil.copy(h5ad, tmp_path))


def _outcome(path):
    """Read all matrices of a file; what became of it, None if it was refused by name."""
    try:
        adata = sc.read_h5ad(path, backed="oom")
        return [np.asarray(x.sum(axis=0)).ravel() for x in (adata.X, *adata.layers.values(), adata.raw.X)]
    except OOMError as error:
        message = str(error)
    assert str(path) in message
    return None


@pytest.mark.parametrize("signature", [b"TREE", b"HEAP", b"SNOD", b"GCOL"])
def test_a_damaged_signature_is_refused_by_name(path, signature):
    content, at, n_refused = path.read_bytes(), -1, 0
    want = _outcome(path)
    while (at := content.find(signature, at + 1)) >= 0:
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        found = _outcome(path)
        n_refused += found is None
        if found is not None:
            for one, other in zip(found, want, strict=True):
                np.testing.assert_array_equal(one, other)
    assert n_refused


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_a_damaged_superblock_is_refused_by_name(path, bit):
    content, want = path.read_bytes(), _outcome(path)
    for at in range(96):
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        found = _outcome(path)
        if found is not None:
            for one, other in zip(found, want, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["X/data", "layers/dense", "raw/X/indices", "obs/group/codes", "obsp/graph/data"])
def test_the_element_that_is_damaged_is_named(path, name):
    with h5py.File(path) as h5:
        at = h5py.h5o.get_info(h5[name].id).addr
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10  # the version of its header
    path.write_bytes(content)
    with pytest.raises(
        CorruptFileError, match=rf"x\.h5ad: /{name.split('/')[0]}.* cannot be read: .*fetch or write it"
    ) as caught:
        sc.read_h5ad(path, backed="oom")
    assert is_damage(caught.value.__cause__)


def test_damage_that_a_later_pass_meets_is_refused_by_name(path):
    adata = sc.read_h5ad(path, backed="oom")
    with h5py.File(path) as h5:
        addresses = [h5["X/data"].id.get_chunk_info(0).byte_offset]
    content = path.read_bytes()
    # the tree that lists the chunks is not read before the first pass
    tree = content.rfind(b"TREE", 0, content.find(addresses[0].to_bytes(8, "little")))
    with path.open("r+b") as raw:
        raw.seek(tree)
        raw.write(b"XXXX")
    with pytest.raises(CorruptFileError, match=r"x\.h5ad"):
        adata.X.sum()
    with pytest.raises(CorruptFileError, match=r"x\.h5ad: /X/data cannot be read: \w+: .*B-tree"):
        sc.read_h5ad(path, backed="oom").X.sum()


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [("obsp/graph", "shape", None), ("obs", "_index", "nowhere"), ("obs", "column-order", 3), ("X", "shape", "ab")],
)
def test_damaged_attributes_are_refused_by_name(path, name, attribute, value):
    with h5py.File(path, "a") as h5:
        del h5[name].attrs[attribute]
        if value is not None:
            h5[name].attrs[attribute] = value
    with pytest.raises(CorruptFileError, match=rf"x\.h5ad.*/{name}"):
        sc.read_h5ad(path, backed="oom")


def test_names_that_are_no_text_are_no_obstacle_to_say_what_a_file_is(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5[b"\xff\xfe"] = 1
    with pytest.raises(OOMError, match="no obs and no var"):
        sc.read_h5ad(tmp_path / "x.h5", backed="oom")


def test_a_file_of_cell_ranger_that_is_damaged_is_refused_by_name(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as h5:
        h5["mm10/data"] = np.arange(3)
    content = bytearray(path.read_bytes())
    content[content.find(b"HEAP")] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"x\.h5"):
        sc.read_10x_h5(path, backed="oom")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        PermissionError(errno.EACCES, "not allowed"),
        OSError(errno.EIO, "the disk fails"),
        FileNotFoundError(errno.ENOENT, "is missing"),
        ImportError("zstd"),
        UserWarning("as an error"),
        OOMError("ours"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_damage_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, damage_is_named("x.h5ad", "/X", by_anndata=True):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("by_anndata", [False, True])
def test_errors_of_readers_of_others_are_no_damage(by_anndata):
    with pytest.raises(KeyError), damage_is_named("x.h5ad", "/uns/mine", by_anndata=by_anndata):
        raise KeyError("mine")


def test_what_hdf5_says_is_damage():
    message = r"x\.h5ad: /X cannot be read: KeyError: .*doesn't exist"
    with (
        h5py.File("x.h5", "w", driver="core", backing_store=False) as h5,
        pytest.raises(CorruptFileError, match=message),
        damage_is_named("x.h5ad", "/X"),
    ):
        h5["nothing"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for zarr_format in (2, 3):
        store = folder / str(zarr_format)
        with ad.settings.override(zarr_write_format=zarr_format):
            _full().write_zarr(store)
        # what is consolidated would be read instead
        (store / ".zmetadata").unlink(missing_ok=True)
    content = json.loads((store / "zarr.json").read_bytes())
    content.pop("consolidated_metadata", None)
    (store / "zarr.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(params=[2, 3])
def zarr_format(request):
    return request.param


@pytest.fixture
def store(stores, tmp_path, zarr_format):
    return shutil.copytree(stores / str(zarr_format), tmp_path / "a.zarr")


def _edit(file, **changes):
    content = json.loads(file.read_bytes())
    content.update(changes)
    file.write_text(json.dumps(content))


ZARR = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:20]),
    "empty": lambda file: file.write_bytes(b""),
    "not text": lambda file: file.write_bytes(b"\xff" * 30),
    "negative shape": lambda file: _edit(file, shape=[-5]),
    "shape of texts": lambda file: _edit(file, shape=["a"]),
    "no shape": lambda file: _edit(file, shape=None),
    "unknown format": lambda file: _edit(file, zarr_format=7),
}


@pytest.mark.parametrize("name", ["X/data", "layers/csc/indices", "obs/group/codes", "uns/nested/n"])
@pytest.mark.parametrize("damage", ZARR.values(), ids=ZARR)
def test_damaged_metadata_of_zarr_are_refused_by_name(store, zarr_format, name, damage):
    damage(store / name / (".zarray" if zarr_format == 2 else "zarr.json"))
    with pytest.raises(CorruptFileError, match=r"a\.zarr"):
        ad.read_zarr(store, backed="oom")


@pytest.mark.parametrize("name", ["", "X", "obs"])
def test_damaged_attributes_of_zarr_are_refused_by_name(store, zarr_format, name):
    (store / name / (".zattrs" if zarr_format == 2 else "zarr.json")).write_text("{")
    with pytest.raises(CorruptFileError, match=r"a\.zarr"):
        ad.read_zarr(store, backed="oom")


@pytest.mark.parametrize("name", ["X/indices", "X/indptr", "layers/csc/indices"])
def test_chunks_of_zarr_that_are_missing_are_not_taken_for_zeros(store, zarr_format, name):
    (store / name / ("0" if zarr_format == 2 else "c/0")).unlink()
    adata = ad.read_zarr(store, backed="oom")
    matrix = adata.layers["csc"] if name.startswith("layers") else adata.X
    with pytest.raises(CorruptFileError, match=r"a\.zarr"):
        matrix.sum(axis=0)


def test_values_of_zarr_that_are_missing_are_zeros_and_said_to_be(store, zarr_format):
    (store / "X/data" / ("0" if zarr_format == 2 else "c/0")).unlink()
    with pytest.warns(UserWarning, match=r"a\.zarr: /X/data lacks some chunks"):
        assert ad.read_zarr(store, backed="oom").X.sum() == ad.read_zarr(store).X.sum() == 0
