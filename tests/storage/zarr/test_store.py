"""Zarr stores, of format 2 and 3, folders and zip files, give what anndata gives in memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import zarr
from zarr.storage import ZipStore

from scanpy_oom import CorruptFileError, OOMMatrix, settings
from scanpy_oom.storage.zarr.open import open_zarr

from ...comparison import assert_same_anndata
from ...matrices import annotated, counts, dense


def full(n_obs=60, n_vars=30, dtype="float32"):
    adata = annotated(counts(n_obs, n_vars, dtype=dtype))
    adata.raw = adata.copy()
    adata.layers["csc"] = adata.X.tocsc()
    adata.layers["dense"] = adata.X.toarray()
    adata.obsm["coordinates"] = np.arange(2.0 * n_obs).reshape(n_obs, 2)
    adata.obsp["graph"] = counts(n_obs, n_obs)
    adata.uns["nested"] = {"a": np.arange(3)}
    return adata


@pytest.fixture(params=[2, 3], ids=["v2", "v3"])
def zarr_format(request):
    with ad.settings.override(zarr_write_format=request.param):
        yield request.param


@pytest.fixture(params=["folder", "zip"])
def path(request, zarr_format, tmp_path):
    if request.param == "folder":
        full().write_zarr(tmp_path / "a.zarr", chunks=(50, 8) if zarr_format == 2 else None)
        return tmp_path / "a.zarr"
    with ZipStore(tmp_path / "a.zarr.zip", mode="w") as store:
        full().write_zarr(store)
    return tmp_path / "a.zarr.zip"


@pytest.fixture
def store(zarr_format, tmp_path):
    full().write_zarr(tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def in_memory(path):
    return ad.read_zarr(ZipStore(path, mode="r") if path.is_file() else path)


def test_all_of_it_is_as_in_memory(path):
    want, got = in_memory(path), ad.read_zarr(path, backed="oom")
    assert isinstance(got.X, OOMMatrix)
    assert isinstance(got.raw.X, OOMMatrix)
    assert all(isinstance(layer, OOMMatrix) for layer in got.layers.values())
    assert_same_anndata(want, got)
    back = got.to_memory()
    for one, other in ((want.X, back.X), *((want.layers[k], back.layers[k]) for k in ("csc", "dense"))):
        assert type(one) is type(other)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(dense(one), dense(other))


def test_the_workflow_gives_what_it_gives_in_memory(path):
    results = in_memory(path), ad.read_zarr(path, backed="oom")
    for adata in results:
        sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[5], inplace=True)
        sc.pp.filter_genes(adata, min_cells=3)
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=9)
        sc.pp.pca(adata, n_comps=4)
    assert isinstance(results[1].X, OOMMatrix)
    assert_same_anndata(*results)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint16", "bool", "float16"])
def test_dtypes_are_kept(tmp_path, zarr_format, dtype):
    adata = annotated(counts(20, 10).toarray().astype(dtype))
    adata.write_zarr(tmp_path / "a.zarr")
    got = ad.read_zarr(tmp_path / "a.zarr", backed="oom")
    assert got.X.dtype == dtype
    np.testing.assert_array_equal(got.to_memory().X, ad.read_zarr(tmp_path / "a.zarr").X)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
def test_empty_matrices_are_read(tmp_path, zarr_format, shape):
    annotated(counts(*shape)).write_zarr(tmp_path / "a.zarr")
    got = ad.read_zarr(tmp_path / "a.zarr", backed="oom")
    assert got.X.shape == shape
    assert got.to_memory().X.shape == shape


@pytest.fixture(params=["BatchedCodecPipeline", "FusedCodecPipeline"])
def _pipeline(request):
    """Each of the ways in which zarr reads; with some, it does so in threads of its own."""
    if not hasattr(zarr.core.codec_pipeline, request.param):
        pytest.skip(f"zarr {zarr.__version__} has no {request.param}")
    with zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{request.param}"}):
        yield


@pytest.mark.usefixtures("_pipeline")
def test_bytes_are_counted(store):
    x = ad.read_zarr(store, backed="oom").X
    before = x.source.bytes_read
    x.sum()
    assert 0 < x.source.bytes_read - before <= 1.2 * x.source.nbytes


@pytest.mark.parametrize("rows", [slice(None), np.random.default_rng(0).permutation(60)], ids=["all", "shuffled"])
def test_what_is_written_is_what_would_be_written_in_memory(store, tmp_path, rows):
    for name, backed in (("memory", None), ("oom", "oom")):
        adata = ad.read_zarr(store, backed=backed)
        del adata.layers["csc"]  # which is written by rows
        sc.pp.log1p(adata)
        adata[rows].copy().write_h5ad(tmp_path / f"{name}.h5ad")
        adata[rows].copy().write_zarr(tmp_path / name)
    for suffix, read in ((".h5ad", ad.read_h5ad), ("", ad.read_zarr)):
        want, got = (read(tmp_path / f"{name}{suffix}") for name in ("memory", "oom"))
        assert type(want.X) is type(got.X)
        assert_same_anndata(want, got)


def test_an_element_takes_the_options_of_zarr(store, zarr_format):
    x = ad.read_zarr(store, backed="oom").X
    group = zarr.open_group(store.parent / "b.zarr", mode="w", zarr_format=zarr_format)
    ad.io.write_elem(group, "x", x, dataset_kwargs={"chunks": (64,), "compressors": None})
    assert group["x/data"].chunks == (64,)
    assert group["x/data"].compressors == ()
    np.testing.assert_array_equal(dense(ad.io.read_elem(group["x"])), dense(x))


def test_scaled_values_are_written_dense(store):
    adata = ad.read_zarr(store, backed="oom")
    sc.pp.scale(adata)
    adata.write_zarr(store.parent / "b.zarr")
    np.testing.assert_array_equal(ad.read_zarr(store.parent / "b.zarr").X, dense(adata.X))


def test_the_store_that_is_being_read_may_be_written_to(store):
    adata = ad.read_zarr(store, backed="oom")
    sc.pp.log1p(adata)
    want = dense(adata.X)
    adata.write_zarr(store)
    np.testing.assert_array_equal(dense(ad.read_zarr(store).X), want)
    assert list(store.parent.iterdir()) == [store]
    with pytest.raises(CorruptFileError, match=r"a\.zarr has changed since it was opened\. Read it again"):
        adata.X.sum()  # which would take the logarithm twice


def test_a_store_that_is_written_anew_in_its_place_is_refused(store):
    adata = ad.read_zarr(store, backed="oom")
    adata.X[:3]
    full(50).write_zarr(store)
    with pytest.raises(CorruptFileError, match=r"a\.zarr has changed since it was opened\. Read it again"):
        adata.X.sum()


@pytest.mark.usefixtures("_pipeline")
def test_bytes_of_shards_are_counted(tmp_path):
    matrix = counts(600, 100)
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    ad.io.write_elem(root, "X", matrix)
    shard = {"chunks": (500,), "shards": (-(-matrix.nnz // 500) * 500,), "compressors": None}
    for name in ("data", "indices"):
        del root[f"X/{name}"]
        root["X"].create_array(name, data=getattr(matrix, name), **shard)
    source = open_zarr(tmp_path / "a.zarr")
    source.row_offsets()
    before = source.bytes_read
    source.read_rows(slice(100, 500))
    wanted = matrix[100:500]
    assert source.bytes_read - before >= wanted.data.nbytes + wanted.indices.nbytes


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize("change", [lambda file: file.write_bytes(file.read_bytes()), lambda file: file.unlink()])
@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [(2, {}), (3, {}), (3, {"chunks": (50,), "shards": (100,)})],
    ids=["v2", "v3", "shards"],
)
def test_a_chunk_that_changes_between_two_reads_is_refused(tmp_path, zarr_format, options, change):
    matrix = counts(60, 30)
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    ad.io.write_elem(root, "X", matrix)
    del root["X/data"]
    root["X"].create_array("data", data=matrix.data, **options)
    source = open_zarr(tmp_path / "a.zarr")
    source.read_rows(slice(0, 60))
    source.read_rows(slice(0, 60))
    change(next(file for file in (tmp_path / "a.zarr/X/data").rglob("*0") if file.is_file()))
    with pytest.raises(CorruptFileError, match=r"a\.zarr: its file X/data/.*0 has changed since it was first read"):
        source.read_rows(slice(0, 60))


def test_a_write_that_fails_leaves_the_old_store_and_no_litter(store):
    adata = ad.read_zarr(store, backed="oom")
    adata.uns["function"] = print
    with pytest.raises(Exception, match="No method registered"):
        adata.write_zarr(store)
    assert list(store.parent.iterdir()) == [store]
    assert_same_anndata(full(), ad.read_zarr(store))


def test_a_matrix_is_pickled_as_a_path(path):
    x = ad.read_zarr(path, backed="oom").X
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).sum())"
    (path.parent / "x.pickle").write_bytes(pickle.dumps(x))
    done = subprocess.run([sys.executable, "-c", script, path.parent / "x.pickle"], capture_output=True, check=True)
    assert float(done.stdout) == x.sum()


def test_threads_do_not_matter(path):
    sums = []
    for n_threads in (1, 4):
        settings.n_threads = n_threads
        sums.append(ad.read_zarr(path, backed="oom").X.sum(axis=0))
    settings.n_threads = None
    np.testing.assert_array_equal(*sums)


def test_a_closed_matrix_says_so(store):
    adata = ad.read_zarr(store, backed="oom")
    adata.X.source.close()
    with pytest.raises(ValueError, match=r"a\.zarr has been closed"):
        adata.X.sum()


def test_a_damaged_chunk_is_refused_by_name(store, zarr_format):
    chunk = store / "X" / "data" / ("0" if zarr_format == 2 else "c/0")
    content = bytearray(chunk.read_bytes())
    chunk.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptFileError, match=r"a\.zarr: the chunk of /X/data that starts at 0 is damaged"):
        ad.read_zarr(store, backed="oom").X.sum()


@pytest.mark.parametrize("element", ["X/data/c/0", "zarr.json", "the list of files"])
def test_damage_of_a_zip_file_is_refused_by_name(tmp_path, element):
    path = tmp_path / "a.zip"
    with ad.settings.override(zarr_write_format=3):
        folder = tmp_path / "a.zarr"
        annotated(counts(60, 20)).write_zarr(folder)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
        if element in archive.namelist():
            info = archive.getinfo(element)
            at = info.header_offset + 30 + len(info.filename) + info.file_size // 2
        else:
            at = archive.start_dir + 1
    with path.open("r+b") as raw:
        raw.seek(at)
        byte = raw.read(1)[0]
        raw.seek(at)
        raw.write(bytes([byte ^ 255]))
    with pytest.raises(CorruptFileError, match=r"a\.zip"):
        ad.read_zarr(path, backed="oom").X.sum()


def test_a_zip_file_that_has_changed_is_refused(tmp_path):
    for n_obs in (60, 50):
        with ZipStore(tmp_path / "a.zip", mode="w") as store:
            full(n_obs).write_zarr(store)
        if n_obs == 60:
            adata = ad.read_zarr(tmp_path / "a.zip", backed="oom")
    with pytest.raises(CorruptFileError, match=r"a\.zip has changed"):
        adata.X.sum()


def _group_as_values(root):
    del root["X/data"]
    root.create_group("X/data")


def test_errors_name_the_store(tmp_path, store):
    with pytest.raises(FileNotFoundError, match=r"no\.zarr"):
        ad.read_zarr(tmp_path / "no.zarr", backed="oom")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        ad.read_zarr(tmp_path / "empty", backed="oom")
    with pytest.raises(ValueError, match="backed='r'"):
        ad.read_zarr(store, backed="r")
    with pytest.raises(TypeError, match="path of a Zarr store"):
        ad.read_zarr(zarr.open_group(store), backed="oom")
    ad.AnnData(obs=full().obs).write_zarr(tmp_path / "none.zarr")
    with pytest.warns(UserWarning, match=r"none\.zarr holds no X"):
        assert ad.read_zarr(tmp_path / "none.zarr", backed="oom").X is None


def test_a_shape_may_be_of_whole_floats(tmp_path):
    full().write_zarr(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "a.zarr", use_consolidated=False)["X"].attrs.update(shape=[60.0, 30.0])
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    assert ad.read_zarr(tmp_path / "a.zarr", backed="oom").X.shape == (60, 30)


@pytest.mark.parametrize(
    ("damage", "found"),
    {
        "one number as shape": (lambda root: root["X"].attrs.update(shape=[60]), "shape"),
        "text as shape": (lambda root: root["X"].attrs.update(shape="ab"), "shape"),
        "fractions as shape": (lambda root: root["X"].attrs.update(shape=[60.5, 20.2]), "shape"),
        "a list as number": (lambda root: root["X"].attrs.update(shape=[60, [20]]), "shape"),
        "no shape": (lambda root: root["X"].attrs.__delitem__("shape"), "shape"),
        "another shape": (lambda root: root["X"].attrs.update(shape=[60, 21]), "21"),
        "another shape of raw": (lambda root: root["raw/X"].attrs.update(shape=[60, 21]), "21"),
        "no values": (lambda root: root["X"].__delitem__("data"), "has no data"),
        "a group as values": (_group_as_values, "has a group as data"),
    }.values(),
)
def test_what_is_no_matrix_is_refused_by_name(tmp_path, damage, found):
    with ad.settings.override(zarr_write_format=3):
        full().write_zarr(tmp_path / "a.zarr")
    damage(zarr.open_group(tmp_path / "a.zarr", use_consolidated=False))
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    with pytest.raises(CorruptFileError, match=rf"a\.zarr.*{found}"):
        ad.read_zarr(tmp_path / "a.zarr", backed="oom")


def test_without_backed_all_is_as_ever(store):
    assert not isinstance(ad.read_zarr(store).X, OOMMatrix)


def test_a_relative_path_is_that_of_where_it_was_opened(store, tmp_path, monkeypatch):
    monkeypatch.chdir(store.parent)
    adata = ad.read_zarr(store.name, backed="oom")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(adata.X.toarray(), full().X.toarray())
