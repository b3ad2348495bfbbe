"""The whole benchmark, in real processes, on a small matrix."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile

import h5py
import matplotlib.pyplot as plt
import pytest
from packaging.version import Version

from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.bench.backends import BACKENDS
from scanpy_oom.bench.recipe import STEPS
from scanpy_oom.bench.results import Results

pytestmark = pytest.mark.slow

SMALL = ["--cells", "400,800", "--genes", "2600"]
QUICK = "read,qc,filter,normalize,log1p,hvg,subset,scale,pca,t-test,write"
INSTALLED = [name for name, backend in BACKENDS.items() if backend.is_installed]
FAILS = {"anndataoom"} if Version(version("anndata")) >= Version("0.13") else set()
"""What is installed and does not read the files: anndataoom knows no index as anndata 0.13 writes it."""


def bench(*arguments: object, cwd: Path | None = None, cold: bool = True) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "scanpy_oom.cli",
        "bench",
        *map(str, arguments),
        *(["--cold"] if cold and "--join" not in arguments else []),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("counts") / "counts.h5ad"
    write_atlas(path, n_cells=400, n_genes=2600)
    return path


@pytest.fixture(scope="module")
def all_backends(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Two sizes through all backends, those that are not installed among them."""
    out = tmp_path_factory.mktemp("bench") / "out"
    return bench(*SMALL, "--backends", ",".join(BACKENDS), "--steps", QUICK, "--out", out), out


def test_all_steps_of_scanpy_and_of_ours_are_measured(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, out = all_backends
    assert done.returncode == 0, done.stdout + done.stderr
    results = Results.read_json(out / "results.json")
    assert [(dataset.cells, dataset.genes, dataset.made) for dataset in results.datasets] == [
        (400, 2600, 0),
        (800, 2600, 0),
    ]
    assert len(results.runs) == 2 * len(BACKENDS)
    for run in results.runs:
        assert [found.step for found in run.steps] == QUICK.split(",")
        if run.backend in {"memory", "oom"}:
            assert not run.failures, run.failures
            assert all(found.seconds > 0 and found.peak >= 0 for found in run.steps)
            assert run.written > 10_000
            assert 0 <= run.steps[0].begin < run.steps[0].end <= run.steps[1].begin


def test_steps_that_read_the_file_have_read_its_bytes(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, out = all_backends
    if sys.platform != "linux":
        pytest.skip("bytes that are read are counted on Linux")
    results = Results.read_json(out / "results.json")
    for run in results.runs:
        if run.backend == "memory":
            size = next(dataset.file_bytes for dataset in results.datasets if dataset.name == run.dataset)
            assert run.get("read").bytes_read > 0.5 * size
        if run.backend == "oom":
            assert run.get("normalize").bytes_read < 100_000


def test_samples_are_near_what_the_kernel_tells(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, out = all_backends
    results = Results.read_json(out / "results.json")
    steps = [found for run in results.runs for found in run.steps if found.status == "done" and found.peak_sampled]
    assert len(steps) > 20
    assert all(found.peak_sampled <= found.peak for found in steps)
    near = [found.peak - found.peak_sampled < max(10_000_000, 0.05 * found.peak) for found in steps]
    assert sum(near) > 0.8 * len(near)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in {"memory", "oom"}])
def test_a_backend_that_is_not_installed_is_a_row_and_one_that_is_has_figures(
    backend: str, all_backends: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    done, out = all_backends
    run = Results.read_json(out / "results.json").of("400x2600", backend)[0]
    if backend in FAILS & {*INSTALLED}:
        assert (run.steps[0].status, run.steps[1].status) == ("failed", "skipped")
    elif backend in INSTALLED:
        assert run.get("pca") is not None, run.failures
        assert run.get("pca").seconds > 0
    else:
        assert [found.status for found in run.steps] == ["failed", *["skipped"] * (len(run.steps) - 1)]
        assert run.steps[0].reason == BACKENDS[backend].absence
        assert f"{BACKENDS[backend].label}: read failed: {BACKENDS[backend].absence}" in done.stdout


def test_results_in_memory_and_out_of_memory_agree(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, out = all_backends
    records = [r for r in Results.read_json(out / "results.json").agreement if r.backend == "oom"]
    assert len(records) == 2
    for record in records:
        assert record.reference == "memory"
        assert (record.cells, record.genes) == (1, 1)
        assert record.components > 0.9999
        assert record.subspace > 0.9999


def test_anndataoom_is_compared_on_cells_and_components(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    pytest.importorskip("anndataoom")
    if "anndataoom" in FAILS:
        pytest.skip("anndataoom knows no index as anndata 0.13 writes it")
    _, out = all_backends
    record = next(r for r in Results.read_json(out / "results.json").agreement if r.backend == "anndataoom")
    assert record.cells == 1
    assert 0.1 < record.genes < 1  # it has Pearson residuals only
    assert 0.3 < record.subspace <= 1


def test_the_csv_has_a_line_for_each_step_of_each_run(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, out = all_backends
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(BACKENDS) * len(QUICK.split(","))
    first = next(row for row in rows if row["backend"] == "oom" and row["step"] == "pca")
    assert float(first["seconds"]) > 0
    assert int(first["peak"]) > 0


def test_the_report_has_machine_versions_steps_and_growth(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, out = all_backends
    report = (out / "report.md").read_text(encoding="utf-8")
    assert report in done.stdout
    assert re.search(r"\d+ cores, \d+ GiB of memory", report)
    assert "scanpy-oom 0." in report
    assert re.search(r"^\| pca \| [\d.]+ \| \d+ \| [\d.]+ \| \d+ \|", report, re.MULTILINE)
    assert "## Growth with cells" in report
    assert re.search(r"^\| scanpy-oom \| 400 – 800 \| -?\d\.\d\d \| -?\d\.\d\d \|", report, re.MULTILINE)


def test_figures_are_saved_as_png_and_svg(all_backends: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = all_backends
    for stem in ("400x2600-steps", "400x2600-memory", "800x2600-steps", "scaling"):
        height, width, _ = plt.imread(out / f"{stem}.png").shape
        assert width > 1400, stem
        assert height > 400, stem
        svg = (out / f"{stem}.svg").read_text(encoding="utf-8")
        assert svg.startswith("<?xml")
        assert "scanpy-oom" in svg


def test_scanpy_oom_is_at_work_in_its_own_run_alone(
    all_backends: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, out = all_backends
    runs = Results.read_json(out / "results.json").runs
    assert all(run.get("read").peak > run.get("read").bytes_read / 10 for run in runs if run.backend == "memory")
    assert "oom" not in (out / "runs" / "400x2600-memory-0" / "log.txt").read_text()


def test_results_are_joined_and_drawn_again(
    all_backends: tuple[subprocess.CompletedProcess[str], Path], counts: Path, tmp_path: Path
) -> None:
    _, out = all_backends
    more = bench(
        counts, "--backends", "oom", "--steps", "read", "--repeat", 2, "--threads", 1, "--out", tmp_path / "more"
    )
    assert more.returncode == 0, more.stderr
    assert [run.repeat for run in Results.read_json(tmp_path / "more" / "results.json").runs] == [0, 1]
    joined = bench("--join", out / "results.json", tmp_path / "more" / "results.json", "--out", tmp_path / "joined")
    assert joined.returncode == 0, joined.stderr
    names = [dataset.name for dataset in Results.read_json(tmp_path / "joined" / "results.json").datasets]
    assert names == ["400x2600", "800x2600", "counts"]
    assert (tmp_path / "joined" / "counts-steps.png").exists()
    twice = bench("--join", out / "results.json", out / "results.json", "--out", tmp_path / "twice")
    assert twice.returncode == 2
    assert "was run on 400x2600 in two of the results" in twice.stderr


def test_what_is_no_result_is_not_joined(tmp_path: Path, counts: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"version": 1}))
    for file in (other, counts):
        done = bench("--join", file, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert str(file) in done.stderr


def test_a_run_that_takes_too_much_memory_is_stopped_and_is_a_row(counts: Path, tmp_path: Path) -> None:
    done = bench(counts, "--backends", "memory,oom", "--steps", "read,qc", "--max-memory", "50 MB", "--out", tmp_path)
    assert done.returncode == 1
    results = Results.read_json(tmp_path / "results.json")
    assert [found.status for found in results.of("counts", "memory")[0].steps] == ["failed", "skipped"]
    assert re.search(r"read failed: stopped at .* MB of memory: 50 MB were allowed", done.stdout)


def test_a_run_that_takes_too_long_is_stopped(counts: Path, tmp_path: Path) -> None:
    done = bench(counts, "--backends", "oom", "--steps", "read", "--timeout", "0.1", "--out", tmp_path)
    assert done.returncode == 1
    assert re.search(r"read failed: stopped after .* s: 0.1 s were allowed", done.stdout)


def test_a_step_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path, counts: Path) -> None:
    """The t-test of groups that are not there fails, writing does not."""
    import anndata as ad

    adata = ad.read_h5ad(counts)
    adata.obs = adata.obs[[]]
    adata.write_h5ad(tmp_path / "groupless.h5ad")
    steps = QUICK.replace("t-test", "t-test,wilcoxon")
    done = bench(tmp_path / "groupless.h5ad", "--backends", "oom", "--steps", steps, "--out", tmp_path / "out")
    assert done.returncode == 1
    run = Results.read_json(tmp_path / "out" / "results.json").runs[0]
    status = {found.step: found.status for found in run.steps}
    assert status["t-test"] == status["wilcoxon"] == "failed"
    assert status["pca"] == status["write"] == "done"
    assert "KeyError" in run.failures[0].reason


def test_all_steps_to_the_plots_run_out_of_memory(counts: Path, tmp_path: Path) -> None:
    done = bench(counts, "--backends", "oom", "--memory-limit", "500 MB", "--out", tmp_path, cold=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Results.read_json(tmp_path / "results.json").runs[0]
    assert [found.step for found in run.steps if found.status == "done"] == list(STEPS)
    for plot in ("umap", "dotplot", "violin"):
        assert (tmp_path / "runs" / "counts-oom-0" / f"{plot}.png").exists()
    assert not (tmp_path / "runs" / "counts-oom-0" / "written.h5ad").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--backends", "memory,numpy"], "there is no backend 'numpy'; there are memory, oom"),
        (["--steps", "read,paint"], "there is no step 'paint'"),
        (["--cells", "many"], "'many' is no positive whole number"),
        (["--repeat", "0"], "'0' is no positive whole number"),
        (["--memory-limit", "lots"], "'lots' is not a size"),
        (["--memory-limit", "1e999"], "must be positive and finite"),
        (["--timeout", "nan"], "'nan' is no positive number of seconds"),
        (["--timeout", "-1"], "'-1' is no positive number of seconds"),
        (["--seed", "-1"], "'-1' is no whole number from 0 on"),
        (["--join"], "--join needs"),
        (["--join", "a.json", "--repeat", "7", "--timeout", "3"], "cannot be combined with --repeat, --timeout"),
        (["a.h5ad", "--cells", "500"], "made without FILE"),
        (["a.h5ad", "b/a.h5ad"], "two files have the same name"),
        (["missing.h5ad"], "missing.h5ad"),
        (["--cells", "400,10"], "at least 300 cells"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_is_refused_with_the_reason(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = bench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.rglob("*"))


def test_every_file_is_looked_at_before_the_first_is_run_on(counts: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.h5ad"
    copyfile(counts, strange)
    with h5py.File(strange, "a") as file:
        file["obs"].attrs["encoding-type"] = "table of the future"
    for other, said in ((tmp_path / "missing.h5ad", "missing.h5ad"), (strange, "strange.h5ad cannot be read with")):
        done = bench(counts, other, "--steps", "read", "--out", tmp_path / "out")
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_what_an_earlier_benchmark_left_is_not_compared(counts: Path, tmp_path: Path) -> None:
    arguments = [counts, "--backends", "memory,oom", "--steps", "read", "--out", tmp_path]
    assert bench(*arguments).returncode == 0
    assert Results.read_json(tmp_path / "results.json").agreement
    assert bench(*arguments, "--timeout", "0.1").returncode == 1
    assert not Results.read_json(tmp_path / "results.json").agreement
