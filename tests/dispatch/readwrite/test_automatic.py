from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import OOMMatrix
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
    with pytest.warns(
        UserWarning, match=r"stays on disk: scanpy's usual steps take about .*, more than 10 MB are free"
    ):
        adata = READERS[name](h5ad)
    assert isinstance(adata.X, OOMMatrix)


def test_backed_decides_where_it_is_given(h5ad, monkeypatch):
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    assert not isinstance(sc.read_h5ad(h5ad, backed=False).X, OOMMatrix)
    assert sc.read_h5ad(h5ad, backed="r").isbacked
    monkeypatch.undo()
    assert isinstance(sc.read_h5ad(h5ad, backed="oom").X, OOMMatrix)


def test_what_cannot_stay_on_disk_is_read_into_memory_with_a_warning(h5ad, tmp_path, monkeypatch):
    path = tmp_path / "complex.h5ad"
    path.write_bytes(h5ad.read_bytes())
    with h5py.File(path, "a") as file:
        values = file["X/data"][...].astype("c8")
        del file["X/data"]
        file["X/data"] = values
    monkeypatch.setattr(automatic, "available_memory", lambda: 10**7)
    with pytest.warns(UserWarning, match="does not fit into memory, and cannot stay on disk"):
        adata = sc.read_h5ad(path)
    assert adata.X.dtype == np.complex64


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


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the address space")
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
