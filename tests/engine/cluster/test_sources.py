"""Workers read every kind of stored matrix, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom.engine.compute import compute
from scanpy_oom.errors import CorruptFileError
from scanpy_oom.reductions import AxisStatistics, GroupMoments
from scanpy_oom.settings import settings

from ...matrices import annotated, counts, dense
from .results import assert_same_bits, last_pass

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of zarr, and of what the files are

CODES = np.arange(900) % 3


def stored(folder: Path, kind: str) -> Path:
    adata = annotated(counts(900, 60))
    adata.layers["log"] = adata.X.log1p()
    if kind == "zarr":
        pytest.importorskip("zarr")
        adata.write_zarr(folder / "a.zarr")
        return folder / "a.zarr"
    adata.X = dense(adata.X) if kind == "dense" else adata.X
    adata.write_h5ad(folder / "a.h5ad", compression={"plain": None, "lzf": "lzf"}.get(kind, "gzip"))
    return folder / "a.h5ad"


def opened(path: Path) -> ad.AnnData:
    return ad.read_zarr(path, backed="oom") if path.suffix == ".zarr" else sc.read_h5ad(path, backed="oom")


def assert_same_on_workers(client, matrix) -> None:
    asked = lambda: [AxisStatistics(), GroupMoments(np.arange(matrix.shape[0]) % 3, 3)]
    with scanpy_oom.engine(client):
        found = compute(matrix, *asked())
    assert last_pass().device == "2 Dask workers", last_pass().why_not_on_device
    assert_same_bits(found, compute(matrix, *asked()), asked())


@pytest.mark.parametrize("kind", ["gzip", "lzf", "plain", "dense", "zarr"])
def test_files_and_stores_of_all_kinds_are_read(client, tmp_path, kind):
    adata = opened(stored(tmp_path, kind))
    for matrix in (adata.X, adata.layers["log"], adata.X.select(CODES.argsort(), np.arange(50))):
        assert_same_on_workers(client, matrix)


def test_files_of_cell_ranger_are_read(client, data_dir):
    adata = scanpy_oom_10x(data_dir / "pbmc_1k_10x_v3.h5")
    assert_same_on_workers(client, adata.X)


def scanpy_oom_10x(path: Path) -> ad.AnnData:
    settings.read = "always"
    return sc.read_10x_h5(path)


def test_a_relative_path_is_that_of_the_client(client, tmp_path, monkeypatch):
    stored(tmp_path, "gzip")
    monkeypatch.chdir(tmp_path)
    assert_same_on_workers(client, sc.read_h5ad("a.h5ad", backed="oom").X)


def test_files_one_below_the_other_are_read_where_each_lies(client, tmp_path):
    (tmp_path / "b").mkdir()
    first = opened(stored(tmp_path, "gzip"))
    second = opened(stored(tmp_path / "b", "plain"))
    sc.pp.log1p(second)
    assert_same_on_workers(client, ad.concat([first, second[100:, :40].copy()], join="outer", index_unique="-").X)


@pytest.mark.parametrize("follows", [True, False])
def test_a_file_that_leads_to_another_is_read_where_the_client_may_follow(client, tmp_path, follows):
    path = stored(tmp_path, "gzip")
    path.rename(tmp_path / "values.h5ad")
    annotated(counts(900, 60)).write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(tmp_path / "values.h5ad"), "/X")
    settings.follow_links = follows
    if not follows:
        with pytest.raises(Exception, match="follow_links"):
            opened(path)
        return
    assert_same_on_workers(client, opened(path).X)


def test_a_file_that_has_changed_is_noticed_though_workers_have_copies(client, tmp_path):
    path = stored(tmp_path, "gzip")
    adata = opened(path)
    with scanpy_oom.engine(client):
        compute(adata.X, AxisStatistics())
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(CorruptFileError, match=r"a\.h5ad"):
            compute(adata.X, AxisStatistics())
