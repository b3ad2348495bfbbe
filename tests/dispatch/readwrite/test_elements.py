"""`anndata.io.read_elem` where all that is read is left on disk: matrices are, unless the file may be written to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import OOMMatrix, settings

from ...fuzz.compare import EXACT, differences
from ...matrices import annotated, counts


@pytest.fixture(autouse=True)
def _always() -> None:
    settings.read = "always"
    scanpy_oom.report(clear=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    adata = annotated(counts(40, 12))
    adata.layers["dense"] = adata.X.toarray()
    adata.obsm["X_pca"] = np.ones((40, 3))
    adata.obsp["near"] = sparse.eye(40, format="csr")
    adata.raw = adata
    adata = adata[:, :9].copy()
    path = tmp_path / "a.h5ad"
    adata.write_h5ad(path, compression="gzip")
    return path


def materialised() -> list[tuple[str, str, str | None]]:
    calls = scanpy_oom.report().calls
    return [(call.function, call.reason, call.where) for call in calls if call.how == "materialised"]


ELEMENTS = {
    "a matrix": lambda f: ad.io.read_elem(f["X"]),
    "an array": lambda f: ad.io.read_elem(f["layers/dense"]),
    "layers": lambda f: ad.io.read_elem(f["layers"]),
    "raw": lambda f: ad.io.read_elem(f["raw"]),
    "all": ad.io.read_elem,
    "the root": lambda f: ad.io.read_elem(f["/"]),
}


@pytest.mark.parametrize("what", ELEMENTS)
def test_a_matrix_of_a_file_that_is_open_for_reading_stays_on_disk(what: str, path: Path) -> None:
    with h5py.File(path, "r+") as f:
        want = ELEMENTS[what](f)
    with h5py.File(path, "r") as f:
        got = ELEMENTS[what](f)
    found = [got, *(got.values() if isinstance(got, dict) else ()), getattr(got, "X", None)]
    assert any(isinstance(value, OOMMatrix) for value in found)
    assert differences(want, got, tolerance=EXACT) == []


def test_annotations_are_read_into_memory_as_ever(path: Path) -> None:
    with h5py.File(path, "r") as f:
        for name, kind in {"obsm/X_pca": np.ndarray, "obsp/near": sparse.csr_matrix}.items():
            assert type(ad.io.read_elem(f[name])) is kind
        assert type(ad.io.read_elem(f["obsm"])["X_pca"]) is np.ndarray
        assert type(ad.io.read_elem(f)[:, :2].obsm["X_pca"].base) is not OOMMatrix
    assert materialised() == []


@pytest.mark.parametrize("mode", ["r+", "a"])
def test_a_file_that_is_open_for_writing_is_read_into_memory_which_is_said(mode: str, path: Path) -> None:
    with h5py.File(path, mode) as f:
        line = sys._getframe().f_lineno + 1
        x = ad.io.read_elem(f["X"])
        del f["X"]
        ad.io.write_elem(f, "X", x)
    assert type(x) is sparse.csr_matrix
    ((function, reason, where),) = materialised()
    assert (function, where) == ("read_elem", f"{os.path.relpath(__file__)}, line {line}")
    assert reason == f"read into memory: /X, as {path} is open for writing"


def test_a_file_that_is_open_for_writing_elsewhere_in_the_script_is_so(path: Path) -> None:
    with h5py.File(path, "r+"), h5py.File(path, "r") as f:
        assert type(ad.io.read_elem(f["X"])) is sparse.csr_matrix


def test_a_file_in_memory_is_read_into_memory(path: Path) -> None:
    with path.open("rb") as opened, h5py.File(opened, "r") as f:
        assert type(ad.io.read_elem(f["X"])) is sparse.csr_matrix
    with h5py.File(path, "r", driver="core") as f:
        assert type(ad.io.read_elem(f["X"])) is sparse.csr_matrix
    assert ["no file that can be opened again" in reason for _, reason, _ in materialised()] == [True, True]


def test_a_file_that_another_has_replaced_is_read_into_memory(path: Path) -> None:
    want = ad.read_h5ad(path, backed=False).X
    with h5py.File(path, "r") as f:
        annotated(counts(5, 4)).write_h5ad(path.with_name("b.h5ad"))
        path.with_name("b.h5ad").replace(path)
        found = ad.io.read_elem(f["X"])
    assert differences(want, found, tolerance=EXACT) == []
    assert type(found) is sparse.csr_matrix


@pytest.mark.parametrize("mode", ["w", "r+", "a"])
def test_what_is_read_from_is_not_opened_for_writing(mode: str, path: Path) -> None:
    with h5py.File(path, "r") as f:
        x = ad.io.read_elem(f["X"])
    want = x.to_memory()
    with pytest.raises(OSError, match="already open"):
        h5py.File(path, mode)
    assert (x != want).nnz == 0
    del x
    h5py.File(path, mode).close()


def test_what_was_closed_may_be_written_to(path: Path) -> None:
    with h5py.File(path, "r") as f:
        adata = ad.io.read_elem(f)
    adata.oom.close()
    h5py.File(path, "w").close()


def test_anndata_may_write_over_what_is_read_from(path: Path) -> None:
    with h5py.File(path, "r") as f:
        x, obs, var = (ad.io.read_elem(f[name]) for name in ("X", "obs", "var"))
    want = x.to_memory()
    ad.AnnData(x, obs=obs, var=var).write_h5ad(path)
    ad.AnnData(want * 2, obs=obs, var=var).write_h5ad(path)  # nothing of it is out of memory, but x is
    assert (x != want).nnz == 0
    assert (want * 2 != ad.read_h5ad(path).X).nnz == 0


def test_other_files_that_are_read_into_memory_are_said(path: Path, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "table.csv", np.eye(3), delimiter=",")
    sc.read(tmp_path / "table.csv")
    sc.read_h5ad(path, backed=False)
    assert [(function, reason) for function, reason, _ in materialised()] == [
        ("read", "read into memory: files of this kind are read into memory"),
        ("read_h5ad", "read into memory: `backed=False` asks for it"),
    ]


def test_a_store_that_is_open_is_read_into_memory_which_is_said(path: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    ad.read_h5ad(path, backed=False).write_zarr(tmp_path / "a.zarr")
    group = zarr.open(tmp_path / "a.zarr", mode="r")
    assert type(ad.io.read_elem(group["X"])) is sparse.csr_matrix
    assert type(ad.io.read_elem(group["layers/dense"])) is np.ndarray
    assert type(ad.read_zarr(group).X) is sparse.csr_matrix
    assert isinstance(ad.read_zarr(tmp_path / "a.zarr").X, OOMMatrix)
    assert [function for function, _, _ in materialised()[1:]] == ["read_elem", "read_elem", "read_zarr"]


def test_nothing_changes_where_it_was_not_asked_for(path: Path) -> None:
    settings.read = "asked"
    with h5py.File(path, "r") as f:
        assert type(ad.io.read_elem(f["X"])) is sparse.csr_matrix
        assert type(ad.io.read_elem(f).X) is sparse.csr_matrix
    assert materialised() == []


def test_anndata_s_own_way_to_leave_a_matrix_on_disk_is_left_alone(path: Path) -> None:
    with h5py.File(path, "r") as f:
        found = ad.io.sparse_dataset(f["X"])
        assert not isinstance(found, OOMMatrix)
        assert type(found[:3]) is sparse.csr_matrix


SCRIPT = """
import sys
{imports}
with h5py.File(sys.argv[1], "r") as f:
    adata = AnnData(read_elem(f["X"]), obs=read_elem(f["obs"]), var=read_elem(f["var"]))
import scanpy as sc
sc.pp.log1p(adata)
print(type(adata.X).__name__, type(sc.read_h5ad(sys.argv[1]).X).__name__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import h5py; from anndata import AnnData; from anndata.io import read_elem",
        "import h5py; from anndata import AnnData; from anndata.experimental import read_elem",
        "import scanpy, h5py; from anndata import AnnData, io; read_elem = io.read_elem",
    ],
)
@pytest.mark.parametrize("way", ["module", "variable"])
def test_scripts_have_it_by_command_or_by_environment(way: str, imports: str, path: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(imports=imports))
    command = [sys.executable, "-W", "ignore", *(["-m", "scanpy_oom"] if way == "module" else [])]
    environment = {**os.environ, **({"SCANPY_OOM_READ": "always"} if way == "variable" else {})}
    if way == "variable":  # as the line does that is installed with the package
        (tmp_path / "sitecustomize.py").write_text("import _scanpy_oom_activate as a; a.install()")
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, tmp_path / "script.py", path], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["OOMCSRMatrix", "OOMCSRMatrix"]
