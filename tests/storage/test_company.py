"""A file is read in company: by threads and processes at once, while others have it open, and it is left as it was."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import CorruptFileError
from scanpy_oom.storage.hdf5.open import open_source

KINDS = {
    "direct": (sparse.csr_matrix, {"compression": "gzip", "chunks": (97,)}),
    "contiguous": (sparse.csr_matrix, {}),
    "library": (sparse.csr_matrix, {**hdf5plugin.Blosc(), "chunks": (97,)}),
    "by columns": (sparse.csc_matrix, {"compression": "gzip", "chunks": (97,)}),
}

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork, and locks what is open")


@pytest.fixture
def matrix(counts) -> sparse.csr_matrix:
    return counts(120, 40)


@pytest.fixture(params=KINDS)
def path(request, matrix, write_h5ad) -> Path:
    make, options = KINDS[request.param]
    return write_h5ad(make(matrix), **options)


def _run(script: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.run(
        command, check=False, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )


def _hold(path: Path, mode: str) -> subprocess.Popen[str]:
    """Have another process open the file, until its input ends."""
    script = "import h5py, sys; h5 = h5py.File(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(path), mode]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "open\n"
    return holder


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    """What lies in a folder: when it was changed last, and what it holds."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in folder.rglob("*")
        if file.is_file()
    }


def _sum(path: Path, rounds: int) -> float:
    """Read the file with threads, over and over; every time there must be the same."""
    sums = []
    for _ in range(rounds):
        with open_source(path) as source, ThreadPoolExecutor(3) as executor:
            blocks = executor.map(lambda i: source.read_rows(slice(i, i + 10)).data.sum(), range(0, 120, 10))
            sums.append(float(sum(blocks)))
    assert len(set(sums)) == 1
    return sums[0]


@pytest.mark.slow
def test_processes_and_threads_read_at_once(path, matrix):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        found = [pool.apply_async(_sum, (path, 5)) for _ in range(6)]
        assert _sum(path, 5) == matrix.sum()
        assert [result.get(300) for result in found] == [matrix.sum()] * 6


READ = """
    import sys
    from scanpy_oom.storage.hdf5.open import open_source
    print(open_source(sys.argv[1]).read_rows(slice(None)).data.sum())
"""


@pytest.mark.parametrize("locking", ["TRUE", "BEST_EFFORT", "FALSE"])
def test_file_that_another_process_reads_is_read(path, matrix, locking):
    holder = _hold(path, "r")
    try:
        done = _run(READ, path, HDF5_USE_FILE_LOCKING=locking)
    finally:
        holder.communicate()
    assert done.stdout.split() == [str(matrix.sum(dtype="f8"))], done.stderr


@unix
@pytest.mark.parametrize("mode", ["a", "r+"])
def test_file_that_another_process_writes_is_refused_unless_locks_are_ignored(path, matrix, mode):
    holder = _hold(path, mode)
    try:
        refused = _run(READ, path, HDF5_USE_FILE_LOCKING="TRUE")
        ignored = _run(READ, path, HDF5_USE_FILE_LOCKING="FALSE")
    finally:
        holder.communicate()
    assert "BlockingIOError" in refused.stderr
    for words in ("Another process has this file open for writing", "HDF5_USE_FILE_LOCKING to FALSE", str(path)):
        assert words in refused.stderr.splitlines()[-1]
    assert ignored.stdout.split() == [str(matrix.sum(dtype="f8"))], ignored.stderr


@unix
@pytest.mark.parametrize("path", ["direct", "contiguous", "by columns"], indirect=True)
def test_file_that_is_read_directly_may_be_written_by_others_which_is_noticed(path):
    source = open_source(path)
    source.row_offsets()
    done = _run("import h5py, sys; h5py.File(sys.argv[1], 'a')['more'] = 1", path)
    assert done.returncode == 0, done.stderr
    with pytest.raises(CorruptFileError, match=r"x\.h5ad has changed since it was opened .*Read it again"):
        source.read_rows(slice(0, 10))


def test_file_that_this_process_has_open_for_writing_is_read(path, matrix):
    with h5py.File(path, "a"):
        assert open_source(path).read_rows(slice(None)).data.sum() == matrix.sum()


@unix
def test_file_that_was_deleted_or_replaced_is_read_on(path, matrix, tmp_path):
    source = open_source(path)
    source.read_rows(slice(0, 3))
    path.unlink()
    assert source.read_rows(slice(None)).data.sum() == matrix.sum()
    path.write_bytes(b"something else")
    assert source.read_rows(slice(20, 90)).data.sum() == matrix[20:90].sum()


@pytest.fixture
def workflow():
    """What users do with a file, up to new layers and columns."""

    def run(path: Path) -> ad.AnnData:
        adata = sc.read_h5ad(path, backed="oom")
        sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
        sc.pp.filter_cells(adata, min_counts=1)
        adata.layers["counts"] = adata.X.copy()
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        adata.raw = adata
        sc.pp.highly_variable_genes(adata, n_top_genes=20)
        sc.pp.pca(adata, n_comps=5)
        adata.obs["new"] = 1
        adata.uns["new"] = np.arange(3)
        assert adata.to_memory().layers["counts"].sum() > 0
        return adata

    return run


def test_nothing_is_written_into_or_beside_a_file(path, matrix, workflow):
    folder = path.parent / "theirs"
    folder.mkdir()
    path = path.rename(folder / path.name)
    with h5py.File(path, "a") as h5:
        h5.copy("X", "layers/stored")
        h5.copy("X", "raw/X")
        h5.copy("var", "raw/var")
    before = _state(folder)
    path.chmod(0o444)
    folder.chmod(0o555)
    try:
        adata = workflow(path)
        during = _state(folder)
        adata.oom.close()
        assert _state(folder) == during == before
    finally:
        folder.chmod(0o755)


def _fork_and_sum(adata, queue) -> None:
    queue.put((float(adata.X.sum()), np.asarray(adata.X.sum(axis=0)).ravel().tolist()))


@unix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_has_the_numbers_of_its_parent(path, matrix):
    adata = sc.read_h5ad(path, backed="oom")
    adata.X.sum(axis=1)  # threads and caches are there before the fork
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=_fork_and_sum, args=(adata, queue)) for _ in range(2)]
    for child in children:
        child.start()
    expected = (float(matrix.sum()), np.asarray(matrix.sum(axis=0)).ravel().tolist())
    for child in children:
        child.join(120)
        assert child.exitcode == 0
        total, columns = queue.get()
        assert total == expected[0]
        np.testing.assert_allclose(columns, expected[1])
    assert float(adata.X.sum()) == expected[0]


def _read_rows(adata, matrix, queue) -> None:
    wrong = 0
    for seed in range(40):
        rows = np.random.default_rng([os.getpid(), seed]).choice(matrix.shape[0], 50, replace=False)
        wrong += (adata.X[rows] != matrix[rows]).nnz
    queue.put(wrong)


@unix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_children_read_on_where_another_file_has_taken_the_name(matrix, counts, write_h5ad):
    matrix = counts(5000, 400)
    path = write_h5ad(matrix, **{**hdf5plugin.Blosc(), "chunks": (5000,)})  # which h5py reads
    adata = sc.read_h5ad(path, backed="oom")
    path.with_name("other").write_bytes(b"another file")
    path.with_name("other").replace(path)
    assert (adata.X[:9] != matrix[:9]).nnz == 0  # the file is open as h5py has it
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=_read_rows, args=(adata, matrix, queue)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    assert [queue.get() for _ in children] == [0, 0, 0]


@unix
def test_a_system_that_gives_less_than_is_asked_for_is_asked_again(counts, write_h5ad, monkeypatch):
    matrix = counts(500, 40)
    path = write_h5ad(matrix, **hdf5plugin.Blosc())
    adata = sc.read_h5ad(path, backed="oom")
    path.with_name("other").write_bytes(b"another file")
    path.with_name("other").replace(path)
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: preadv(fd, [buffers[0][:1000]], at))
    assert (adata.X[:] != matrix).nnz == 0


WITHOUT_PREAD = """
    import os, sys
    for name in ("pread", "preadv", "pwrite", "pwritev"):
        delattr(os, name)
    import anndata, h5py, numpy, scanpy
    from scanpy_oom.storage.hdf5 import chunks as chunked
    read = []
    for kind in (chunked.DirectReader, chunked.ContiguousReader, chunked.LibraryReader):
        def _read(self, *args, kind=kind, old=kind._read):
            read.append(kind.__name__)
            return old(self, *args)
        kind._read = _read
    adata = scanpy.read_h5ad(sys.argv[1], backed="oom")
    scanpy.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    want, got = anndata.read_h5ad(sys.argv[1]), adata.to_memory()
    scanpy.pp.calculate_qc_metrics(want, percent_top=None, inplace=True)
    assert (want.X != got.X).nnz == 0 and (want.layers["dense"] == got.layers["dense"]).all()
    assert numpy.allclose(want.obs["total_counts"], got.obs["total_counts"])
    print(sorted(set(read)))
"""


@pytest.mark.slow
def test_without_reads_from_a_place_all_is_read_by_h5py(path):
    with h5py.File(path, "a") as h5:
        dense = ad.io.read_elem(h5["X"]).toarray()
        ad.io.write_elem(h5.require_group("layers"), "dense", dense, dataset_kwargs={"compression": "gzip"})
    done = _run(WITHOUT_PREAD, path)
    assert done.stdout.split() == ["['LibraryReader']"], done.stderr
