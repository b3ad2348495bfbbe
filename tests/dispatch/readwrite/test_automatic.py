from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import OOMMatrix
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.dispatch.readwrite import automatic
from scanpy_oom.dispatch.readwrite.automatic import decide, needed_by_scanpy
from scanpy_oom.memory.system import available_memory
from scanpy_oom.settings import settings
from scanpy_oom.storage.header import MatrixSize

READERS = {"h5ad": sc.read_h5ad, "read": sc.read, "anndata": ad.read_h5ad}


@pytest.fixture(autouse=True)
def _auto() -> Iterator[None]:
    settings.read = "auto"
    yield
    settings.read = None


@pytest.fixture
def claimed(h5ad: Path, tmp_path: Path) -> Path:
    """A file whose header claims more values than any memory holds, none of which is stored."""
    path = tmp_path / "claimed.h5ad"
    path.write_bytes(h5ad.read_bytes())
    with h5py.File(path, "a") as file:
        n_cells, n_genes = file["X"].attrs["shape"]
        del file["X"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, n_genes]})
        many = 2**45
        group.create_dataset("data", (many,), "f4", chunks=(2**20,))
        group.create_dataset("indices", (many,), "i4", chunks=(2**20,))
        group["indptr"] = np.append(np.zeros(n_cells, dtype=np.int64), many)
    return path


@pytest.mark.parametrize("name", READERS)
def test_what_fits_is_read_into_memory_and_the_log_says_so(h5ad, name):
    verbosity, sc.settings.verbosity = sc.settings.verbosity, 2
    logfile, sc.settings.logfile = sc.settings.logfile, io.StringIO()
    try:
        assert not isinstance(READERS[name](h5ad).X, OOMMatrix)
        said = sc.settings.logfile.getvalue()
    finally:
        sc.settings.verbosity, sc.settings.logfile = verbosity, logfile
    assert f"{h5ad} is read into memory: scanpy's usual steps take about" in said
    assert "`backed='oom'` leaves it on disk" in said


@pytest.mark.parametrize("name", READERS)
def test_what_does_not_fit_stays_on_disk_and_a_warning_says_why(h5ad, name, monkeypatch):
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    with pytest.warns(UserWarning, match=r"stays on disk: scanpy's usual steps take about .*, but only 10 MB are free"):
        adata = READERS[name](h5ad)
    assert isinstance(adata.X, OOMMatrix)


def test_backed_decides_where_it_is_given(h5ad, monkeypatch):
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    assert not isinstance(sc.read_h5ad(h5ad, backed=False).X, OOMMatrix)
    assert sc.read_h5ad(h5ad, backed="r").isbacked
    monkeypatch.undo()
    assert isinstance(sc.read_h5ad(h5ad, backed="oom").X, OOMMatrix)


def test_what_cannot_stay_on_disk_is_read_into_memory_with_a_warning(h5ad, tmp_path, monkeypatch):
    path = tmp_path / "linked.h5ad"
    path.write_bytes(h5ad.read_bytes())
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(h5ad), "/X")
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    settings.follow_links = False
    try:
        with pytest.warns(UserWarning, match=r"does not fit into memory, and cannot stay on disk: .*follow_links"):
            adata = sc.read_h5ad(path)
    finally:
        settings.follow_links = None
    assert not isinstance(adata.X, OOMMatrix)
    assert adata.X.nnz == sc.read_h5ad(h5ad, backed=False).X.nnz


def test_other_arguments_are_obeyed_in_memory(h5ad, monkeypatch):
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    assert not isinstance(ad.read_h5ad(h5ad, chunk_size=100).X, OOMMatrix)


def test_a_file_that_is_none_is_told_of_by_who_reads_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        sc.read_h5ad(tmp_path / "missing.h5ad")
    (tmp_path / "text.h5ad").write_text("no file of HDF5")
    with pytest.raises(OSError, match="file signature not found"):
        sc.read_h5ad(tmp_path / "text.h5ad")


def test_a_store_that_does_not_fit_stays_on_disk(h5ad, tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    ad.read_h5ad(h5ad).write_zarr(tmp_path / "a.zarr")
    assert not isinstance(ad.read_zarr(tmp_path / "a.zarr").X, OOMMatrix)
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    with pytest.warns(UserWarning, match="stays on disk"):
        assert isinstance(ad.read_zarr(tmp_path / "a.zarr").X, OOMMatrix)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_file_of_cell_ranger_that_does_not_fit_stays_on_disk(data_dir, monkeypatch):
    path = data_dir / "pbmc_1k_10x_v3.h5"
    assert not isinstance(sc.read_10x_h5(path).X, OOMMatrix)
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    with pytest.warns(UserWarning, match="stays on disk"):
        assert isinstance(sc.read_10x_h5(path, gex_only=False).X, OOMMatrix)


def test_a_header_is_enough(claimed):
    decision = decide(claimed)
    assert decision is not None
    assert decision.on_disk
    assert decision.needed > 2**48
    assert decision.available <= available_memory() * 2


def test_a_file_that_is_too_large_for_memory_is_told_of_with_the_way_out(claimed):
    settings.read = "asked"
    with pytest.raises(MemoryError) as raised:
        sc.read_h5ad(claimed)
    assert any(
        "`backed='oom'` reads this file and leaves its matrices on disk" in note for note in raised.value.__notes__
    )


def test_needs_grow_with_layers_and_with_cells():
    x = MatrixSize("X", (1000, 20_000), 10**6, np.dtype(np.float32), is_dense=False)
    layer = MatrixSize("layers/counts", (1000, 20_000), 10**7, np.dtype(np.int64), is_dense=False)
    assert needed_by_scanpy([x]) < needed_by_scanpy([x, layer])
    assert needed_by_scanpy([x, layer]) > 3 * layer.nbytes
    wide = MatrixSize("X", (10**6, 20_000), 10**6, np.dtype(np.float32), is_dense=False)
    assert needed_by_scanpy([wide]) > 10**6 * 2000 * 4 * 6


def counts_of(shape: str, path: Path) -> ad.AnnData:
    """Counts of cells, stored in one of the ways that users have."""
    if shape == "panel":
        x = sparse.random(60_000, 500, 0.6, format="csr", dtype=np.float32, random_state=np.random.default_rng(0))
        x.data = np.ceil(5 * x.data)
        return ad.AnnData(x)
    write_atlas(path, n_cells=8_000 if shape == "dense" else 20_000, n_genes=20_000)
    adata = ad.read_h5ad(path, backed=False)
    match shape:
        case "int64":
            adata.X = adata.X.astype(np.int64)
        case "dense":
            adata.X = adata.X.toarray()
        case "layers":
            adata.layers["counts"] = adata.X.copy()
            adata.raw = adata
    return adata


WORKFLOW = """
import sys
import scanpy as sc
from scipy import sparse
from scanpy_oom.memory.peak import PeakMemory
from scanpy_oom.memory.rss import resident_memory
before = resident_memory()
with PeakMemory() as memory:
    adata = sc.read_h5ad(sys.argv[1])
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, inplace=True)
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=min(2000, adata.n_vars))
    adata.raw = adata
    adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=50)
print(memory.most - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["csr", "int64", "layers", "dense", "panel"])
def test_the_estimate_is_near_what_scanpy_takes(tmp_path, shape):
    path = tmp_path / "counts.h5ad"
    counts_of(shape, tmp_path / "atlas.h5ad").write_h5ad(path)
    environment = {**os.environ, "SCANPY_OOM_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", WORKFLOW, str(path)]
    measured = int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    estimate = decide(path).needed
    assert measured / 1.5 < estimate < 1.5 * measured
