from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scanpy_oom import __version__
from scanpy_oom.cli import main


def write(path: Path, X: object, **layers: object) -> Path:
    n_obs, n_vars = (500, 1000) if X is None else X.shape
    adata = ad.AnnData(
        X,
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_vars)]),
        layers=layers,
    )
    adata.write_h5ad(path)
    return path


def counts(n_obs: int, n_vars: int) -> sparse.csr_matrix:
    return sparse.random(n_obs, n_vars, 0.05, format="csr", dtype=np.float32, random_state=0).ceil()


def refusal(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says before it gives up."""
    assert main(["demo", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_the_installed_command_tells_its_version() -> None:
    command = Path(sys.executable).with_name("scanpy-oom")
    run = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"scanpy-oom {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["demonstrate"], ["demo", "--cells", "many"]])
def test_what_is_no_command_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith("usage: scanpy-oom")


@pytest.mark.parametrize("option", [["--cells", "1000"], ["--genes", "5000"], ["--seed", "0"], ["--keep"]])
def test_options_of_the_made_matrix_are_refused_with_a_file(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", str(tmp_path / "x.h5ad"), *option])
    assert "made without FILE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--cells", "20"], ["--genes", "100"], ["--cells", "-1"]])
def test_a_matrix_too_small_to_be_made_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal([*arguments, "--out", tmp_path], capsys)
    assert "at least 300 cells and 2500 genes" in said
    assert arguments[1] in said


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing.h5ad"
    assert refusal([path], capsys) == f"scanpy-oom demo: There is no such file: {path}\n"


def test_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{tmp_path} is a folder" in refusal([tmp_path], capsys)


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.h5ad"
    path.write_text("cell,gene\n")
    assert f"{path} is not an HDF5 file" in refusal([path], capsys)


def test_an_hdf5_file_that_is_no_h5ad_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["matrix"] = np.eye(3)
    said = refusal([path], capsys)
    assert f"{path} is an HDF5 file but no h5ad file" in said
    assert "matrix" in said


def test_a_file_without_X_is_refused_and_its_layers_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.h5ad", None, umis=counts(500, 1000))
    said = refusal([path], capsys)
    assert f"{path} has no matrix of numbers in X; the workflow needs counts there. The layers are: umis." in said


@pytest.mark.parametrize("shape", [(50, 1000), (500, 400)])
def test_too_few_cells_or_genes_are_refused(
    shape: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.h5ad", counts(*shape))
    said = refusal([path], capsys)
    assert f"{path} holds {shape[0]} cells and {shape[1]} genes" in said
    assert "at least 100 cells and 500 genes" in said


def test_scaled_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.h5ad", np.full((500, 1000), -0.5, np.float32))
    assert f"{path} has negative values in X, such as -0.5" in refusal([path], capsys)


def test_nothing_is_left_behind_when_the_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(["missing.h5ad"], capsys)
    assert list(tmp_path.iterdir()) == []
