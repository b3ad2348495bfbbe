from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import NotAnH5adError, OOMError, OOMMatrix
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.settings import settings

READERS: dict[str, Callable[..., ad.AnnData]] = {
    "scanpy.read_h5ad": lambda path, **kw: sc.read_h5ad(path, **kw),
    "scanpy.read": lambda path, **kw: sc.read(path, **kw),
    "the module that reads": lambda path, **kw: (sc.io if SCANPY_1_13 else sc.readwrite).read_h5ad(path, **kw),
    "anndata.read_h5ad": lambda path, **kw: ad.read_h5ad(path, **kw),
    "anndata.io.read_h5ad": lambda path, **kw: ad.io.read_h5ad(path, **kw),
}
by_name = pytest.mark.parametrize("name", READERS)


@by_name
@pytest.mark.parametrize("kind", [str, Path])
def test_every_reader_reads_out_of_memory(name: str, kind: type, h5ad: Path) -> None:
    adata = READERS[name](kind(h5ad), backed="oom")
    assert type(adata) is ad.AnnData
    assert all(isinstance(matrix, OOMMatrix) for matrix in (adata.X, adata.layers["counts"], adata.raw.X))
    assert not adata.isbacked


def test_backed_may_be_given_by_position(h5ad: Path) -> None:
    assert isinstance(sc.read_h5ad(h5ad, "oom").X, OOMMatrix)
    assert isinstance(sc.read(h5ad, "oom").X, OOMMatrix)


def test_our_own_function_does_the_same(h5ad: Path) -> None:
    assert isinstance(scanpy_oom.read_h5ad(h5ad).X, OOMMatrix)


@by_name
def test_other_values_of_backed_mean_what_they_meant(name: str, h5ad: Path) -> None:
    for value in (None, False) if "read_h5ad" in name else (None,):
        assert sparse.issparse(READERS[name](h5ad, backed=value).X)
    for value in ("r", "r+", True) if "read_h5ad" in name else ("r", "r+"):
        adata = READERS[name](h5ad, backed=value)
        assert adata.isbacked
        adata.file.close()
    assert sparse.issparse(READERS[name](h5ad).X)


@by_name
@pytest.mark.parametrize("value", ["foo", "OOM", 3, "", ["oom"]])
def test_a_wrong_backed_is_refused_with_those_that_are_right(name: str, value: object, h5ad: Path) -> None:
    with pytest.raises(ValueError, match=r"`backed=.*` is not known.*'oom'.*'r', 'r\+' or True.*None or False"):
        READERS[name](h5ad, backed=value)


@by_name
def test_a_file_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.h5ad"):
        READERS[name](tmp_path / "no.h5ad", backed="oom")


@by_name
def test_a_file_that_is_no_hdf5_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "text.h5ad"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(NotAnH5adError, match=r"text\.h5ad"):
        READERS[name](path, backed="oom")


@pytest.mark.parametrize("suffix", ["csv", "txt.gz", "mtx"])
def test_scanpys_read_does_not_ignore_backed_for_other_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{suffix}"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(NotAnH5adError, match=rf"table\.{suffix}"):
        sc.read(path, backed="oom")


@pytest.mark.parametrize(
    "arguments", [{"as_sparse": ["X"]}, {"chunk_size": 100}, {"as_sparse_fmt": sparse.csc_matrix}], ids=str
)
def test_arguments_that_cannot_be_honoured_are_refused(arguments: dict[str, object], h5ad: Path) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}=.*cannot be combined with `backed='oom'`"):
        sc.read_h5ad(h5ad, backed="oom", **arguments)


def test_a_sheet_is_not_read_out_of_memory(h5ad: Path) -> None:
    with pytest.raises(ValueError, match="`sheet='X'` cannot be combined"):
        sc.read(h5ad, backed="oom", sheet="X")


def test_arguments_with_their_defaults_are_accepted(h5ad: Path) -> None:
    assert isinstance(sc.read_h5ad(h5ad, backed="oom", as_sparse=(), chunk_size=6000).X, OOMMatrix)
    assert isinstance(sc.read(h5ad, backed="oom", ext="h5ad", cache=True).X, OOMMatrix)


def test_a_key_of_a_file_is_scanpys_affair(h5ad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(h5ad.parent)
    before = sc.settings.writedir
    sc.settings.writedir = h5ad.parent
    try:
        assert isinstance(sc.read("counts", backed="oom").X, OOMMatrix)
        with pytest.raises(ValueError, match="filekey 'no_such' failed"):
            sc.read("no_such", backed="oom")
    finally:
        sc.settings.writedir = before


def test_out_of_memory_may_be_the_default(h5ad: Path, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "table.csv", np.eye(3), delimiter=",")
    settings.read = "always"
    try:
        for reader in READERS.values():
            assert isinstance(reader(h5ad).X, OOMMatrix)
        assert sparse.issparse(sc.read_h5ad(h5ad, backed=False).X)
        assert isinstance(sc.read(tmp_path / "table.csv").X, np.ndarray)
        assert sc.read_h5ad(h5ad, backed="r").isbacked
    finally:
        settings.read = None


@by_name
def test_a_file_without_any_matrix_opens_with_a_warning(name: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.h5ad"
    ad.AnnData(obs=pd.DataFrame(index=["a", "b"])).write_h5ad(path)
    with pytest.warns(UserWarning, match=r"labels\.h5ad holds no X, nor a layer or raw"):
        adata = READERS[name](path, backed="oom")
    assert adata.X is None
    assert list(adata.obs_names) == ["a", "b"]
    assert not adata.oom.isbacked


def test_a_path_may_be_bytes_as_in_memory(h5ad: Path) -> None:
    want = ad.read_h5ad(os.fsencode(h5ad))
    for found in (
        sc.read_h5ad(os.fsencode(h5ad), backed="oom"),
        scanpy_oom.read_h5ad(os.fsencode(h5ad)),
        scanpy_oom.read_h5ad([os.fsencode(h5ad)]),
    ):
        assert isinstance(found.X, scanpy_oom.OOMMatrix)
        assert found.shape == want.shape


def test_what_was_closed_says_so_and_is_not_called_damaged(h5ad: Path) -> None:
    adata = ad.read_h5ad(h5ad, backed="oom")
    adata.oom.close()
    for matrix in (adata.X, adata.layers["counts"], adata.raw.X):
        with pytest.raises(ValueError, match="has been closed; read it again") as caught:
            matrix.sum()
        assert not isinstance(caught.value, OOMError)
