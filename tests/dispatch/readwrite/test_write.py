from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.dispatch.readwrite import write as writers
from scanpy_oom.reductions.write import Write
from scanpy_oom.storage.hdf5.writer import CompressedWriter

from ...comparison import assert_same_anndata
from ...matrices import annotated, as_held, counts, dense


@pytest.fixture
def path(tmp_path):
    annotated(counts(300, 20)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.mark.parametrize("write", [lambda a, p: a.write_h5ad(p), lambda a, p: sc.write(p, a), lambda a, p: a.write(p)])
def test_the_file_that_is_being_read_may_be_written_to(path, write):
    a = sc.read_h5ad(path, backed="oom")
    sc.pp.log1p(a)
    a = a[::2]
    want = dense(a.X)
    write(a, path)
    np.testing.assert_array_equal(dense(ad.read_h5ad(path).X), want)
    np.testing.assert_array_equal(dense(a.X), want)
    assert [p.name for p in path.parent.iterdir()] == ["a.h5ad"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(path, monkeypatch):
    before = path.read_bytes()
    a = sc.read_h5ad(path, backed="oom")

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Write, "update", fail)
    with pytest.raises(KeyboardInterrupt):
        a.write_h5ad(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.h5ad"]


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
@pytest.mark.parametrize("as_dense", [(), "X", ["X", "raw/X"], ["raw.X"]])
@pytest.mark.parametrize(
    "rows", [slice(None), slice(10, 200), np.random.default_rng(0).permutation(300)], ids=["all", "some", "shuffled"]
)
@pytest.mark.parametrize("stored", ["csr", "csc"])
def test_a_file_holds_what_it_would_hold_in_memory(path, stored, compression, as_dense, rows):
    annotated(counts(300, 20).asformat(stored)).write_h5ad(path, compression="gzip")
    in_memory, out_of_memory = ad.read_h5ad(path), sc.read_h5ad(path, backed="oom")
    for a, name in ((in_memory, "memory"), (out_of_memory, "oom")):
        a.layers["counts"] = a.X.copy()
        a.raw = a.copy()
        sc.pp.log1p(a)
        a = a[rows, np.arange(20)[::-1][:17]]  # noqa: PLW2901
        a.write_h5ad(path.with_name(name), compression=compression, as_dense=as_dense)
    want, got = (ad.read_h5ad(path.with_name(name)) for name in ("memory", "oom"))
    assert type(want.X) is type(got.X)
    assert type(want.raw.X) is type(got.raw.X)
    assert_same_anndata(want, got)


@pytest.mark.parametrize(
    "first", [lambda a: None, lambda a: a.X.source.read_rows(slice(0, 9))], ids=["columns", "rows"]
)
@pytest.mark.parametrize("totals", [True, False], ids=["totals", ""])
def test_what_scanpy_holds_by_columns_is_written_by_columns(path, first, totals, monkeypatch):
    monkeypatch.setattr(sys.modules["scanpy_oom.engine.executor"], "COLUMN_ENTRIES", 300)
    annotated(counts(300, 20).tocsc()).write_h5ad(path, compression="gzip")
    in_memory, out_of_memory = ad.read_h5ad(path), sc.read_h5ad(path, backed="oom")
    first(out_of_memory)
    for a, name in ((in_memory, "memory"), (out_of_memory, "oom")):
        if totals:
            sc.pp.normalize_total(a, target_sum=100)
        sc.pp.log1p(a)
        a[:250].write_h5ad(path.with_name(name))
    want, got = (ad.read_h5ad(path.with_name(name)) for name in ("memory", "oom"))
    assert got.X.format == want.X.format == ("csr" if totals else "csc")
    assert_same_anndata(want, got)


def test_what_fills_zeros_of_columns_is_written_by_columns(path):
    adata = annotated(counts(60, 20).tocsc().astype(float))
    adata.write_h5ad(path)
    lazy = ad.read_h5ad(path, backed="oom")
    for data in (adata, lazy):
        sc.pp.scale(data, mask_obs=np.arange(60) % 2 == 0)
    assert lazy.X.chain.fill_values is not None
    lazy.write_h5ad(path.with_name("scaled.h5ad"))
    found = ad.read_h5ad(path.with_name("scaled.h5ad"))
    assert found.X.format == adata.X.format == "csc"
    np.testing.assert_allclose(found.X.toarray(), adata.X.toarray(), rtol=1e-12)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("chosen", [np.s_[:0], np.s_[:, :0], np.s_[:0, :0]], ids=["rows", "columns", "both"])
@pytest.mark.parametrize("stored", ["csr", "csc"])
def test_what_is_empty_is_written_as_in_memory(path, stored, chosen, suffix):
    annotated(counts(300, 20).asformat(stored)).write_h5ad(path)
    for a, name in ((ad.read_h5ad(path), "memory"), (sc.read_h5ad(path, backed="oom"), "oom")):
        part = a[chosen].copy()
        write = part.write_h5ad if suffix == ".h5ad" else part.write_zarr
        write(path.with_name(name + suffix))
    read = ad.read_h5ad if suffix == ".h5ad" else ad.read_zarr
    want, got = (read(path.with_name(name + suffix)) for name in ("memory", "oom"))
    assert type(got.X) is type(want.X)
    assert_same_anndata(want, got)


@pytest.mark.parametrize("is_dense", [False, True], ids=["sparse", "dense"])
def test_chunks_of_a_zarr_store_are_those_of_an_array_and_say_nothing_of_a_sparse_matrix(path, is_dense):
    x = counts(30, 20)
    annotated(x.toarray() if is_dense else x).write_h5ad(path)
    a = sc.read_h5ad(path, backed="oom")
    a.write_zarr(path.with_suffix(".zarr"), chunks=(7, 5))
    assert_same_anndata(ad.read_h5ad(path), ad.read_zarr(path.with_suffix(".zarr")))
    if is_dense:
        assert pytest.importorskip("zarr").open(path.with_suffix(".zarr"))["X"].chunks == (7, 5)


def test_a_dense_matrix_is_written_dense_whatever_the_order_of_rows(path):
    a = sc.read_h5ad(path, backed="oom")
    sc.pp.scale(a)
    b = a[np.random.default_rng(1).permutation(300)]
    b.write_h5ad(path.with_name("b.h5ad"), compression="gzip")
    np.testing.assert_array_equal(ad.read_h5ad(path.with_name("b.h5ad")).X, dense(b.X))


def test_what_cannot_be_made_dense_is_refused_as_by_anndata(path):
    a = sc.read_h5ad(path, backed="oom")
    with pytest.raises(NotImplementedError, match="as_dense"):
        a.write_h5ad(path.with_name("b.h5ad"), as_dense=["obs"])
    assert [p.name for p in path.parent.iterdir()] == ["a.h5ad"]


def test_an_element_is_written_to_an_open_file(path):
    x = sc.read_h5ad(path, backed="oom").X
    with h5py.File(path.with_name("b.h5"), "w") as file:
        ad.io.write_elem(file, "x", x, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        assert file["x/data"].compression_opts == 1
        np.testing.assert_array_equal(dense(ad.io.read_elem(file["x"])), dense(x))


def test_a_write_that_is_killed_leaves_the_old_file_and_no_litter(path):
    before = path.read_bytes()
    script = """
import os, signal, sys
import scanpy as sc
from scanpy_oom.storage.hdf5.writer import CompressedWriter
a = sc.read_h5ad(sys.argv[1], backed="oom")
append = CompressedWriter.append
def append_and_die(*arguments):
    append(*arguments)
    assert len(os.listdir(os.path.dirname(sys.argv[1]))) == 2
    os.kill(os.getpid(), signal.SIGKILL)
CompressedWriter.append = append_and_die
a.write_h5ad(sys.argv[1])
"""
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -signal.SIGKILL
    end = time.monotonic() + 10
    while (names := [p.name for p in path.parent.iterdir()]) != ["a.h5ad"] and time.monotonic() < end:
        time.sleep(0.05)
    assert names == ["a.h5ad"]
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_write_does_not_wait_for_a_process_that_was_forked_meanwhile(path, monkeypatch):
    children = []
    append = CompressedWriter.append

    def append_and_fork(*arguments):
        append(*arguments)
        children.append(multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,)))
        children[-1].start()

    monkeypatch.setattr(CompressedWriter, "append", append_and_fork)
    sc.read_h5ad(path, backed="oom").write_h5ad(path.with_name("b.h5ad"))
    assert children
    assert all(child.is_alive() for child in children)
    for child in children:
        child.kill()
        child.join()


@pytest.mark.parametrize("name", ["n" * 250 + ".h5ad", "a." + "細" * 84])
def test_a_name_may_be_as_long_as_the_system_allows(path, name):
    sc.read_h5ad(path, backed="oom").write_h5ad(path.with_name(name))
    assert {p.name for p in path.parent.iterdir()} == {"a.h5ad", name}


def test_the_permissions_of_the_old_file_stay(path):
    path.chmod(0o640)
    sc.read_h5ad(path, backed="oom").write_h5ad(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_narrow_indices_are_written_where_anndata_is_set_so(path):
    if not hasattr(ad.settings, "write_csr_csc_indices_with_min_possible_dtype"):
        pytest.skip("this anndata has no such setting")
    with ad.settings.override(write_csr_csc_indices_with_min_possible_dtype=True):
        sc.read_h5ad(path, backed="oom").write_h5ad(path.with_name("b.h5ad"))
    with h5py.File(path.with_name("b.h5ad")) as file:
        assert file["X/indices"].dtype == np.uint8
    np.testing.assert_array_equal(dense(ad.read_h5ad(path.with_name("b.h5ad")).X), dense(ad.read_h5ad(path).X))


def test_what_is_in_memory_is_written_as_ever(path):
    a = ad.read_h5ad(path)
    a.write_h5ad(path.with_name("b.h5ad"), as_dense=["X"])
    assert isinstance(ad.read_h5ad(path.with_name("b.h5ad")).X, np.ndarray)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_another_or_the_old_one_stays(path, tmp_path, monkeypatch, can_exchange):
    folder = tmp_path / "a.zarr"
    sc.read_h5ad(path, backed="oom").write_zarr(folder)
    if not can_exchange:
        monkeypatch.setattr(writers, "exchange", lambda a, b: False)
    a = sc.read_h5ad(path, backed="oom")
    sc.pp.log1p(a)
    want = dense(a.X)
    if not can_exchange:
        rename = type(folder).rename

        def interrupted(this, target):
            if this.suffix == ".zarr" and ".partial" in this.name:
                raise KeyboardInterrupt
            return rename(this, target)

        with monkeypatch.context() as patch:
            patch.setattr(type(folder), "rename", interrupted)
            with pytest.raises(KeyboardInterrupt):
                a.write_zarr(folder)
        assert_same_anndata(ad.read_zarr(folder), ad.read_h5ad(path))
    a.write_zarr(folder)
    np.testing.assert_array_equal(dense(ad.read_zarr(folder).X), want)
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5ad", "a.zarr"}


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_threads_may_write_to_one_place_at_once(path, tmp_path, name):
    a = sc.read_h5ad(path, backed="oom")
    out = tmp_path / name
    write = a.write_h5ad if out.suffix == ".h5ad" else a.write_zarr
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(write, out) for _ in range(6)]:
            done.result()
    read = ad.read_h5ad if out.suffix == ".h5ad" else ad.read_zarr
    np.testing.assert_array_equal(dense(read(out).X), dense(a.X))
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5ad", name}


@pytest.mark.parametrize("form", as_held)
def test_what_is_transposed_is_written_as_in_memory(form, tmp_path):
    ad.AnnData(as_held[form](counts(12, 7))).write_h5ad(tmp_path / "a.h5ad")
    found = []
    for backed in (None, "oom"):
        ad.read_h5ad(tmp_path / "a.h5ad", backed=backed).T.write_h5ad(tmp_path / "b.h5ad")
        found.append(ad.read_h5ad(tmp_path / "b.h5ad").X)
    assert type(found[0]) is type(found[1])
    np.testing.assert_array_equal(dense(found[0]), dense(found[1]))
