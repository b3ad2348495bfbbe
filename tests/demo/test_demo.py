from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from scanpy_oom.bench.backends import memory
from scanpy_oom.bench.recipe import STEPS
from scanpy_oom.bench.results import Results, Run, StepResult
from scanpy_oom.cli import main
from scanpy_oom.demo.compare import Check, compare_results
from scanpy_oom.demo.main import left_out
from scanpy_oom.demo.report import Comparison, format_report, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN = [step for step in STEPS if step not in {"wilcoxon", "write"}]
"""Steps of the demo."""

# -- the whole


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The demo on a small matrix, as a user starts it, and its folder."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [Path(sys.executable).with_name("scanpy-oom"), "demo", "--cells", "600", "--genes", "3000", "--out", out]
    return subprocess.run(command, capture_output=True, text=True, check=False), out


def test_the_demo_succeeds_and_says_that_results_agree(
    demo: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    run, _ = demo
    assert run.returncode == 0, run.stdout + run.stderr
    assert "The results agree." in run.stdout
    assert re.search(r"yes +principal components +smallest \|r\| of 50 is (1\.0|0\.9999)", run.stdout)
    assert re.search(r"yes +highly variable genes +the same 2,000", run.stdout)


def test_the_table_has_seconds_and_memory_of_each_step_in_both_runs(
    demo: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    run, _ = demo
    for step in [*TAKEN, "total"]:
        assert re.search(rf"^{step} +\d+\.\d\d +\d+ +\d+\.\d\d +\d+ ", run.stdout, re.MULTILINE), step


def test_progress_goes_to_standard_error_step_by_step(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, _ = demo
    said = [line.split()[0] for line in run.stderr.splitlines() if line.startswith("  ")]
    assert said == [*TAKEN, *TAKEN]
    for part in (
        "making 600 cells ...",
        "compiling kernels (on a sample of the cells) ...",
        "in memory ...",
        "out of memory ...",
    ):
        assert part in run.stderr.splitlines()


def test_the_figure_and_the_report_are_saved(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, out = demo
    height, width, _ = plt.imread(out / "figure.png").shape
    assert width > height > 800
    assert (out / "report.txt").read_text(encoding="utf-8") in run.stdout
    assert not (out / "counts.h5ad").exists()
    results = Results.read_json(out / "results.json")
    assert [(run.backend, run.is_complete) for run in results.runs] == [("memory", True), ("oom", True)]


def test_both_runs_leave_their_plots_and_results(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = demo
    for mode in ("memory", "oom"):
        names = {path.name for path in (out / mode).iterdir()}
        assert names == {"result.h5ad", "log.txt", "umap.png", "violin.png", "dotplot.png"}


def test_a_step_that_fails_is_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = np.zeros((120, 600), np.float32)
    counts[:, 0] = 1  # so poor that no cell passes quality control
    ad.AnnData(counts, obs=pd.DataFrame(index=[f"c{i}" for i in range(120)])).write_h5ad(tmp_path / "poor.h5ad")
    assert main(["demo", str(tmp_path / "poor.h5ad"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    for label in ("in memory", "out of memory"):
        assert re.search(rf"^{label}: \w+ failed: \w+(\.\w+)*: .", said, re.MULTILINE), said
    assert "The results cannot be compared." in said


# -- the steps


def scanpy_calls(*nodes: ast.AST) -> list[str]:
    """The functions of scanpy that are called, in the order of the text."""
    calls = (found for node in nodes for found in ast.walk(node) if isinstance(found, ast.Call))
    names = [(call.lineno, ast.unparse(call.func)) for call in calls]
    return [name for _, name in sorted(names) if name.startswith(("sc.read", "sc.pp.", "sc.tl.", "sc.pl."))]


def test_the_demo_makes_the_calls_of_the_example(root: Path) -> None:
    steps = ast.parse(Path(memory.__file__).read_text())
    (workflow,) = (node for node in steps.body if isinstance(node, ast.ClassDef))
    taken = [node for node in workflow.body if getattr(node, "name", "").replace("_", "-") in {*TAKEN}]
    assert len(taken) == len(TAKEN)
    example = ast.parse((root / "examples" / "pbmc3k.py").read_text())
    assert scanpy_calls(*taken) == scanpy_calls(example)


def test_without_igraph_a_category_stands_in_for_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    missing = left_out(["cell_type", "batch"])
    assert tuple(step for step in STEPS if step not in missing) == tuple(step for step in TAKEN if step != "leiden")
    assert "igraph is not installed" in missing["leiden"]


def test_without_igraph_and_categories_there_are_no_marker_genes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    missing = left_out([])
    assert missing.keys() - left_out(["batch"]).keys() == {"t-test"}
    assert "there are no groups" in missing["t-test"]
    assert "plot" not in missing


# -- the comparison


@pytest.fixture
def result(tmp_path: Path) -> Callable[..., Path]:
    """Write a result of the workflow, changed as one likes."""

    def write(name: str, change: Callable[[ad.AnnData], ad.AnnData | None] = lambda _: None) -> Path:
        rng = np.random.default_rng(0)
        obs = pd.DataFrame({"total_counts": rng.poisson(1000, 200), "leiden": rng.choice(list("abc"), 200)})
        var = pd.DataFrame({"means": rng.random(30)}, index=[f"gene{i}" for i in range(30)])
        adata = ad.AnnData(obs=obs.set_index("cell" + obs.index.astype(str)), var=var)
        adata.obs["leiden"] = adata.obs["leiden"].astype("category")
        adata.obsm["X_pca"] = rng.normal(size=(200, 5))
        names = {group: rng.permutation(adata.var_names.to_numpy())[:20] for group in "abc"}
        adata.uns["rank_genes_groups"] = {
            "names": pd.DataFrame(names).astype("U10").to_records(index=False, column_dtypes="U10")
        }
        adata = change(adata) or adata
        adata.write_h5ad(tmp_path / name)
        return tmp_path / name

    return write


def failing(result: Callable[..., Path], change: Callable[[ad.AnnData], ad.AnnData | None]) -> list[str]:
    checks = compare_results(result("a.h5ad"), result("b.h5ad", change), "leiden")
    return [check.what for check in checks if not check.agrees]


def test_equal_results_agree(result: Callable[..., Path]) -> None:
    checks = compare_results(result("a.h5ad"), result("b.h5ad"), "leiden")
    assert len(checks) == 7
    assert all(check.agrees for check in checks)


def test_the_sign_of_components_and_the_names_of_clusters_do_not_matter(result: Callable[..., Path]) -> None:
    def rename(adata: ad.AnnData) -> None:
        adata.obsm["X_pca"] = -adata.obsm["X_pca"]
        adata.obs["leiden"] = adata.obs["leiden"].cat.rename_categories({"a": "c", "b": "a", "c": "b"})
        names = adata.uns["rank_genes_groups"]["names"]
        names.dtype.names = ("c", "a", "b")

    assert failing(result, rename) == []


def test_other_genes_are_found(result: Callable[..., Path]) -> None:
    assert failing(result, lambda adata: adata[:, 1:].copy()) == ["highly variable genes"]


def test_other_numbers_are_found(result: Callable[..., Path]) -> None:
    def change(adata: ad.AnnData) -> None:
        adata.obs["total_counts"] += 1

    assert failing(result, change) == ["numbers in obs and var"]


def test_missing_keys_are_found(result: Callable[..., Path]) -> None:
    def change(adata: ad.AnnData) -> None:
        del adata.var["means"]

    assert failing(result, change) == ["keys of obs, var, uns, obsm, varm"]


def test_other_components_are_found(result: Callable[..., Path]) -> None:
    def change(adata: ad.AnnData) -> None:
        adata.obsm["X_pca"][:, 4] += np.random.default_rng(1).normal(scale=0.1, size=200)

    assert failing(result, change) == ["principal components"]


def test_other_clusters_and_markers_are_found(result: Callable[..., Path]) -> None:
    def change(adata: ad.AnnData) -> None:
        adata.obs["leiden"] = pd.Categorical(np.random.default_rng(1).permutation(adata.obs["leiden"]))
        adata.uns["rank_genes_groups"]["names"] = adata.uns["rank_genes_groups"]["names"][::-1]

    assert failing(result, change) == ["clusters", "marker genes"]


# -- the report


def run_of(backend: str, seconds: float, peak: int) -> Run:
    steps = [StepResult(step, "done", seconds=seconds, peak=peak) for step in ("read", "pca", "umap")]
    return Run("cells", backend, steps=steps)


def compared(**change: Any) -> Comparison:
    memory, oom = run_of("memory", 3.0, 900_000_000), run_of("oom", 1.0, 100_000_000)
    fields = {"checks": [Check("components", "equal", agrees=True)], **change}
    return Comparison("5 cells", memory, oom, **fields)


def test_the_report_has_a_row_per_step_and_totals() -> None:
    report = format_report(compared(compile_seconds=12.3))
    rows = dict(re.findall(r"^(read|read to pca|total|compile \(once\)) {2,}(.*)$", report, re.MULTILINE))
    assert rows["read"].split() == ["3.00", "900", "1.00", "100", "3.0x", "9.0x"]
    assert rows["read to pca"].split() == ["6.00", "900", "2.00", "100", "3.0x", "9.0x"]
    assert rows["total"].split() == ["9.00", "900", "3.00", "100", "3.0x", "9.0x"]
    assert rows["compile (once)"].split() == ["–", "–", "12.30", "–", "–", "–"]


def test_a_difference_is_no_success() -> None:
    comparison = compared(checks=[Check("components", "differ", agrees=False)])
    assert not comparison.is_success
    assert re.search(r"NO +components +differ", format_report(comparison))
    assert "The results DISAGREE." in format_report(comparison)


def test_a_failure_in_memory_is_told_and_is_still_a_success() -> None:
    comparison = compared(checks=[])
    comparison.memory.steps[1:] = [StepResult("pca", "failed", reason="killed"), StepResult("umap", "skipped")]
    report = format_report(comparison)
    assert comparison.is_success
    assert "in memory: pca failed: killed" in report
    assert re.search(r"^pca +failed +– +1.00 +100 +– +–$", report, re.MULTILINE)
    assert re.search(r"^umap +– +– +1.00 +100 +– +–$", report, re.MULTILINE)
    assert re.search(r"^completed by both +3.00 +900 +1.00 +100 ", report, re.MULTILINE)


def test_a_failure_out_of_memory_is_no_success() -> None:
    comparison = compared(checks=[])
    comparison.oom.steps[-1].status = "failed"
    assert not comparison.is_success


def test_results_that_could_not_be_saved_are_told_and_no_success() -> None:
    comparison = compared(checks=[])
    comparison.oom.ending = "killed"
    assert "out of memory: after the last step: killed" in format_report(comparison)
    assert not comparison.is_success


@pytest.mark.parametrize(
    ("memory", "oom", "expected"),
    [(30, 1, "30x"), (3, 2, "1.5x"), (1, 2, "0.50x"), (0.01, 0.001, "–"), (1, 0, "20x")],
)
def test_ratios_read_well(memory: float, oom: float, expected: str) -> None:
    assert ratio(memory, oom, smallest=0.05) == expected
