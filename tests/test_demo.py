from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import pytest

from scanpy_oom.cli import main
from scanpy_oom.demo import atlas, steps
from scanpy_oom.demo.atlas import write_atlas
from scanpy_oom.demo.compare import Check, compare_results
from scanpy_oom.demo.data import GROUP, inspect_counts, make_sample
from scanpy_oom.demo.figure import save_figure
from scanpy_oom.demo.report import Comparison, format_report, ratio
from scanpy_oom.demo.run import Outcome, StepCost, run_workflow
from scanpy_oom.demo.steps import STEPS, Plan, choose_steps

if TYPE_CHECKING:
    from collections.abc import Callable

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
    for step in [*STEPS, "total"]:
        assert re.search(rf"^{step} +\d+\.\d\d +\d+ +\d+\.\d\d +\d+ ", run.stdout, re.MULTILINE), step


def test_progress_goes_to_standard_error_step_by_step(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, _ = demo
    said = [line.split()[0] for line in run.stderr.splitlines() if line.startswith("  ")]
    assert said == [*STEPS, *STEPS]
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
        assert re.search(rf"^{label}: failed in the step \w+: \w+(\.\w+)*: .", said, re.MULTILINE), said
    assert "The results cannot be compared." in said


# -- a run


class Killer:
    """Kills the process that it watches, as the system does when memory runs out, at one step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def start_step(self, step: str) -> None:
        if step == self.step:
            (child,) = (
                child for child in psutil.Process().children() if "scanpy_oom.demo.worker" in " ".join(child.cmdline())
            )
            child.kill()

    def finish_step(self, step: str, seconds: float, peak: int) -> None:
        pass


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.h5ad"
    write_atlas(path, n_cells=300, n_genes=2500)
    return path


def test_a_process_that_is_killed_leaves_the_costs_of_the_steps_before(small: Path, tmp_path: Path) -> None:
    plan = Plan(("read", "qc", "filter", "normalize", "log1p"), None)
    outcome = run_workflow("oom", small, tmp_path, plan, Killer("normalize"))
    assert outcome.step == "normalize"
    assert outcome.failure == "killed (SIGKILL), as the system does when memory runs out"
    assert list(outcome.costs) == ["read", "qc", "filter"]
    assert all(cost.seconds > 0 for cost in outcome.costs.values())


# -- the steps


def scanpy_calls(path: Path) -> list[str]:
    """The functions of scanpy that a file calls, in the order of the text."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = [(node.lineno, ast.unparse(node.func)) for node in calls]
    return [name for _, name in sorted(names) if name.startswith(("sc.read", "sc.pp.", "sc.tl.", "sc.pl."))]


def test_the_demo_makes_the_calls_of_the_example(root: Path) -> None:
    assert scanpy_calls(Path(steps.__file__)) == scanpy_calls(root / "examples" / "pbmc3k.py")


def test_without_igraph_a_category_stands_in_for_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    plan = choose_steps(["cell_type", "batch"])
    assert plan.groups == "cell_type"
    assert plan.steps == tuple(step for step in STEPS if step != "leiden")
    assert "igraph is not installed" in plan.left_out["leiden"]


def test_without_igraph_and_categories_there_are_no_marker_genes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    plan = choose_steps([])
    assert plan.groups is None
    assert set(plan.left_out) == {"leiden", "rank_genes_groups"}
    assert "plot" in plan.steps


# -- the matrix


def test_the_made_matrix_looks_like_counts_of_cells(tmp_path: Path) -> None:
    write_atlas(tmp_path / "x.h5ad", n_cells=1000, n_genes=20_000)
    adata = ad.read_h5ad(tmp_path / "x.h5ad")
    assert adata.shape == (1000, 20_000)
    assert (adata.X.data >= 1).all()
    assert (adata.X.data == adata.X.data.round()).all()
    assert adata.X.has_canonical_format
    assert 0.04 < adata.X.nnz / np.prod(adata.shape) < 0.09
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    mitochondrial = np.asarray(adata[:, adata.var_names.str.startswith("MT-")].X.sum(axis=1)).ravel() / totals
    assert 0.01 < np.median(mitochondrial) < 0.06
    assert (mitochondrial > 0.2).any()
    assert (totals < 300).any()
    assert set(adata.obs["cell_type"]) == set(atlas.CELL_TYPES)
    is_b = adata.obs["cell_type"].str.startswith("B ")
    assert adata[is_b, "MS4A1"].X.mean() > 10 * adata[~is_b, "MS4A1"].X.mean()


def test_counts_are_negative_binomial_around_the_profile() -> None:
    profile = np.repeat([0.3, 0.1, 0.01, 0.0001], [1, 5, 19, 100])
    profile /= profile.sum()
    n, library = 20_000, 500.0
    keep, alias = atlas._alias_table(profile)
    lengths, indices, counts = atlas._draw_cells(
        np.zeros(n, np.int64), np.full(n, library), np.zeros(n), profile[None], keep[None], alias[None],
        13, 0.15, np.random.default_rng(0),
    )  # fmt: skip
    rows = np.repeat(np.arange(n), lengths)
    dense = np.zeros((n, profile.size))
    dense[rows, indices] = counts
    mean = library * profile
    np.testing.assert_allclose(dense.mean(axis=0), mean, rtol=0.05, atol=0.01)
    np.testing.assert_allclose(dense.var(axis=0), mean + 0.15 * mean**2, rtol=0.1, atol=0.01)


def test_the_same_seed_makes_the_same_matrix(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_atlas(tmp_path / name, n_cells=300, n_genes=2500, seed=seed)
    a, b, c = (ad.read_h5ad(tmp_path / name) for name in "abc")
    assert (a.X != b.X).nnz == 0
    assert (a.X != c.X).nnz > 0


@pytest.mark.parametrize("as_stored", ["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_kernels_are_compiled_for_a_file_as_it_is_stored(
    small: Path, tmp_path: Path, as_stored: str, dtype: str
) -> None:
    adata = ad.read_h5ad(small)
    values = adata.X.astype(dtype)
    adata.X = values.toarray() if as_stored == "dense" else values.asformat(as_stored)
    adata.write_h5ad(tmp_path / "x.h5ad", compression="lzf")
    counts = inspect_counts(tmp_path / "x.h5ad")
    assert (counts.format, counts.dtype, counts.compression) == (as_stored, dtype, "lzf")
    sample = inspect_counts(make_sample(counts, tmp_path / "sample.h5ad"))
    assert (sample.format, sample.dtype, sample.compression) == (counts.format, counts.dtype, counts.compression)
    assert sample.categories == [GROUP]


def test_a_sample_has_cells_from_everywhere_and_those_with_few_entries(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanpy_oom.demo.data.SAMPLE_CELLS", 100)
    monkeypatch.setattr("scanpy_oom.demo.data.MIN_CELLS", 1)
    whole = ad.read_h5ad(small)
    sample = ad.read_h5ad(make_sample(inspect_counts(small), tmp_path / "sample.h5ad"))
    assert 90 <= sample.n_obs <= 100
    assert sample.var_names.equals(whole.var_names)
    lengths = np.diff(whole.X.indptr)
    assert np.isin(np.sort(lengths)[:10], np.diff(sample.X.indptr)).all()
    assert np.array_equal(sample.X[-1].toarray(), whole.X[-1].toarray())


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


def compared(**change: object) -> Comparison:
    memory, oom = (
        Outcome(mode, {step: StepCost(seconds, peak) for step in ("read", "pca", "umap")})
        for mode, seconds, peak in (("memory", 3.0, 900_000_000), ("oom", 1.0, 100_000_000))
    )
    fields = {"checks": [Check("components", "equal", agrees=True)], **change}
    return Comparison("5 cells", ["read", "pca", "umap"], memory, oom, **fields)


def test_the_report_has_a_row_per_step_and_totals() -> None:
    report = format_report(compared(compile_seconds=12.3))
    rows = dict(re.findall(r"^(read|read to pca|total|compile \(once\)) {2,}(.*)$", report, re.MULTILINE))
    assert rows["read"].split() == ["3.00", "900", "1.00", "100", "3.0x", "9.0x"]
    assert rows["read to pca"].split() == ["6.00", "900", "2.00", "100", "3.0x", "9.0x"]
    assert rows["total"].split() == ["9.00", "900", "3.00", "100", "3.0x", "9.0x"]
    assert rows["compile (once)"].split() == ["-", "-", "12.30", "-", "-", "-"]


def test_a_difference_is_no_success() -> None:
    comparison = compared(checks=[Check("components", "differ", agrees=False)])
    assert not comparison.is_success
    assert re.search(r"NO +components +differ", format_report(comparison))
    assert "The results DISAGREE." in format_report(comparison)


def test_a_failure_in_memory_is_told_and_is_still_a_success(tmp_path: Path) -> None:
    comparison = compared(checks=[])
    comparison.memory.step, comparison.memory.failure = "pca", "killed"
    del comparison.memory.costs["pca"], comparison.memory.costs["umap"]
    report = format_report(comparison)
    assert comparison.is_success
    assert "in memory: failed in the step pca: killed" in report
    assert re.search(r"^pca +failed +- +1.00 +100 +- +-$", report, re.MULTILINE)
    assert re.search(r"^completed by both +3.00 +900 +1.00 +100 ", report, re.MULTILINE)
    save_figure(tmp_path / "figure.png", comparison)
    assert plt.imread(tmp_path / "figure.png").size > 0


def test_a_failure_out_of_memory_is_no_success() -> None:
    comparison = compared(checks=[])
    comparison.oom.failure = "killed"
    assert not comparison.is_success


@pytest.mark.parametrize(
    ("memory", "oom", "expected"),
    [(30, 1, "30x"), (3, 2, "1.5x"), (1, 2, "0.50x"), (0.01, 0.001, "-"), (1, 0, "20x")],
)
def test_ratios_read_well(memory: float, oom: float, expected: str) -> None:
    assert ratio(memory, oom, smallest=0.05) == expected
