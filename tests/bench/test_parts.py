"""What the benchmark is put together from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from scanpy_oom.bench import backends
from scanpy_oom.bench.agreement import canonical_correlation, compare, layout_quality, recall, smallest_correlation
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.bench.figures.scaling import _short, exponent, fit_exponents
from scanpy_oom.bench.recipe import NEEDS, STEPS, Recipe, parse_steps, waiting_for
from scanpy_oom.bench.results import Agreement, Dataset, Results, Run, StepResult
from scanpy_oom.bench.run import Order, measure
from scanpy_oom.bench.table import format_totals
from scanpy_oom.bench.totals import cost, done_steps, excuse, scaled_steps, total
from scanpy_oom.bench.watch import Limits, Watch, thin
from scanpy_oom.memory.peak import PeakMemory


def run_of(seconds: dict[str, float], backend: str = "oom", dataset: str = "d", repeat: int = 0) -> Run:
    """A run that has taken these steps, and 10 times as many megabytes as seconds."""
    steps = [StepResult(step, "done", seconds=s, cpu_seconds=s, peak=round(1e7 * s)) for step, s in seconds.items()]
    return Run(dataset, backend, repeat, steps)


def results_of(*runs: Run, cells: dict[str, int] | None = None) -> Results:
    datasets = [Dataset(n, c, 100, 1000, "csr", "float32", "gzip", 1000) for n, c in (cells or {"d": 10}).items()]
    machine = {"processor": "p", "cores": 2, "memory": 2**30, "system": "s", "load_average": [0.0]}
    return Results(machine, {"python": "3"}, {}, datasets, list(runs))


# -- steps


def test_steps_are_put_in_their_order_and_reading_is_always_one() -> None:
    assert parse_steps("pca, qc") == ("read", "qc", "pca")
    assert parse_steps("rank_genes_groups") == ("read", "t-test", "wilcoxon")
    assert parse_steps(",".join(STEPS)) == STEPS


def test_every_step_needs_steps_before_it() -> None:
    for step, needs in NEEDS.items():
        assert all(STEPS.index(need) < STEPS.index(step) for need in needs)


def test_a_step_waits_for_what_it_needs_through_steps_that_are_left_out() -> None:
    assert waiting_for("pca", STEPS, ["scale"]) == "scale"
    assert waiting_for("pca", ["read", "hvg", "pca"], ["hvg"]) == "hvg"
    assert waiting_for("pca", STEPS, ["umap"]) is None
    assert waiting_for("write", STEPS, ["leiden"]) is None
    assert waiting_for("plot", STEPS, ["leiden"]) == "leiden"


# -- results


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = run_of({"read": 1.5})
    run.memory, run.notes, run.written = [(0.0, 5), (0.5, 7)], ["note"], 12
    run.steps.append(StepResult("qc", "failed", reason="why"))
    results = results_of(run)
    results.agreement = [Agreement("d", "oom", "memory", 1.0, 0.5, clusters=0.25)]
    results.write_json(tmp_path / "results.json")
    assert Results.read_json(tmp_path / "results.json") == results


def test_results_of_another_machine_or_another_set_of_the_same_name_are_not_joined() -> None:
    one, other = results_of(run_of({"read": 1})), results_of(run_of({"read": 1}, "memory"))
    assert Results.join([one, other]).backends() == ["oom", "memory"]
    other.machine = {**other.machine, "cores": 64}
    with pytest.raises(ValueError, match="two machines"):
        Results.join([one, other])
    other.machine, other.versions = one.machine, {"python": "4", "dask": "1"}
    assert Results.join([one, other]).versions == {"python": "3 and 4", "dask": "1"}
    with pytest.raises(ValueError, match="stands for two data sets"):
        Results.join([one, results_of(run_of({"read": 1}, "memory"), cells={"d": 11})])


def test_totals_are_sums_of_seconds_and_the_largest_peak_as_medians_of_runs() -> None:
    runs = [run_of({"read": s, "qc": 2 * s}, repeat=i) for i, s in enumerate([1.0, 5.0, 2.0])]
    assert cost(runs, "qc", "seconds").median == 4
    assert (cost(runs, "qc", "seconds").low, cost(runs, "qc", "seconds").high) == (2, 10)
    assert total(runs, ["read", "qc"], "seconds").median == 6
    assert total(runs, ["read", "qc"], "peak").median == 4e7
    assert total(runs, ["read", "pca"], "seconds") is None
    assert total(runs, [], "seconds") is None


def test_backends_are_compared_on_the_steps_that_both_have_done() -> None:
    failed = Run("d", "dask", 0, [StepResult("read", "done", seconds=1, peak=1), StepResult("qc", "failed")])
    absent = Run("d", "anndataoom", 0, [StepResult("read", "failed"), StepResult("qc", "skipped")])
    results = results_of(run_of({"read": 1, "qc": 1}), failed, absent)
    assert done_steps(results, "d", "oom") == ["read", "qc"]
    assert done_steps(results, "d", "oom", "dask") == ["read"]
    assert done_steps(results, "d", "oom", "anndataoom") == []
    assert excuse([failed], "qc") == "failed"
    assert excuse([absent], "qc") == "–"
    assert scaled_steps(["read", "pca", "umap"]) == ["read", "pca"]
    assert scaled_steps(["read", "qc"]) == ["read", "qc"]


def test_results_without_a_machine_or_of_unknown_backends_are_not_read(tmp_path: Path) -> None:
    results = results_of(run_of({"read": 1}, "numpy"))
    results.write_json(tmp_path / "results.json")
    with pytest.raises(ValueError, match=r"results\.json has runs of numpy; the backends are memory, memory-seed, oom"):
        Results.read_json(tmp_path / "results.json")
    results.runs, results.machine = [], {"processor": "p"}
    results.write_json(tmp_path / "results.json")
    with pytest.raises(ValueError, match="lacks facts about its machine: cores, memory"):
        Results.read_json(tmp_path / "results.json")


# -- growth


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_an_exponent_is_found(power: float) -> None:
    sizes = np.array([1e4, 3e4, 1e5])
    assert exponent(sizes, 7 * sizes**power) == pytest.approx(power, abs=1e-12)


def test_only_what_was_completed_is_fitted() -> None:
    runs = [run_of({"read": n / 100}, "oom", f"d{n}") for n in (100, 200, 400)]
    runs += [run_of({"read": 1}, "memory", "d100"), Run("d200", "memory", 0, [StepResult("read", "failed")])]
    fits = fit_exponents(results_of(*runs, cells={f"d{n}": n for n in (400, 100, 200)}))
    assert [fit.backend for fit in fits] == ["oom"]
    assert fits[0].sizes == [100, 200, 400]
    assert (fits[0].memory, fits[0].time) == (pytest.approx(1), pytest.approx(1))


def test_sizes_are_written_short() -> None:
    assert [_short(n) for n in (400, 2_700, 30_000, 999_999, 1_300_000)] == ["400", "2.7k", "30k", "1M", "1.3M"]


# -- agreement


def test_components_agree_whatever_their_signs_and_their_subspace_whatever_the_rotation() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    assert smallest_correlation(x, -x) == pytest.approx(1)
    assert canonical_correlation(x, 3 * x) == pytest.approx(1)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert canonical_correlation(x, x @ rotation) == pytest.approx(1)
    assert smallest_correlation(x, x @ rotation) < 0.99
    assert canonical_correlation(x, rng.normal(size=(200, 5))) < 0.4


def test_results_are_compared_on_the_cells_of_both(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    names = np.array([f"c{i}" for i in range(30)])
    groups = np.array(["a", "b"] * 15)
    files = {name: tmp_path / f"{name}.npz" for name in ("memory", "oom")}
    np.savez(files["memory"], cells=names[:28], genes=np.array(["g", "h"]), pca=x[:28], clusters=groups[:28])
    order = np.arange(29, 1, -1)
    np.savez(files["oom"], cells=names[order], genes=np.array(["h", "i"]), pca=-x[order], clusters=groups[order])
    record = compare("d", "oom", "memory", files)
    assert record.cells == pytest.approx(26 / 30)
    assert record.genes == pytest.approx(1 / 3)
    assert record.components == pytest.approx(1)
    assert record.clusters == 1


def test_cells_of_one_name_are_told_apart_by_their_order(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(4, 2))
    files = {name: tmp_path / f"{name}.npz" for name in ("memory", "oom")}
    np.savez(files["memory"], cells=np.array(["a", "a", "b", "b"]), pca=x)
    np.savez(files["oom"], cells=np.array(["b", "a", "a"]), pca=x[[2, 0, 1]])
    record = compare("d", "oom", "memory", files)
    assert record.cells == 3 / 4
    assert record.components == pytest.approx(1)


def test_neighbours_are_held_against_all_and_layouts_against_their_components(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    some = np.array([3, 50, 200])
    true = np.argsort(np.linalg.norm(x[some, None] - x[None], axis=2), axis=1)[:, 1:7]
    assert recall(x, some, true) == 1
    assert recall(x, some, np.where(np.arange(6) < 3, true, -1)) == 1, "those that are not there count for nothing"
    assert recall(x, some, np.where(np.arange(6) < 3, true, (true + 1) % 300)) < 0.7
    assert recall(x, some, np.full((3, 6), -1)) == 1
    same, other = layout_quality(x, x[:, :4] * 2, 15), layout_quality(x, rng.normal(size=(300, 2)), 15)
    assert same == (1, 1)
    assert other[0] < 0.6
    assert other[1] < 0.2
    files = {name: tmp_path / f"{name}.npz" for name in ("memory", "oom")}
    names = np.arange(300).astype(str)
    np.savez(files["memory"], cells=names, pca=x, umap=x[:, :2])
    np.savez(files["oom"], cells=names, pca=x, umap=x[:, :2], some=some, neighbors=true)
    record = compare("d", "oom", "memory", files)
    assert (record.recall, record.trustworthiness, record.preservation) == (1, 1, 1)


def test_what_no_backend_has_found_does_not_agree(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.npz" for name in ("memory", "oom")}
    for file in files.values():
        np.savez(file, cells=np.array(["a", "b"]))
    results = results_of(run_of({"read": 1}), run_of({"read": 1}, "memory"))
    results.agreement = [compare("d", "oom", "memory", files)]
    assert results.agreement[0].genes is None
    assert "| scanpy-oom | 100.00% | – | – | – | – | – | – | – |" in format_totals(results, results.datasets[0])


# -- processes


@pytest.mark.parametrize(
    "variable",
    ["SCANPY_OOM_THREADS", "NUMBA_NUM_THREADS", "DASK_NUM_WORKERS", "RAYON_NUM_THREADS", "CYTEARC_WORKERS"],
)
def test_threads_are_set_for_every_backend(variable: str) -> None:
    order = Order("d", "dask", Path("f"), Path("o"), ("read",), Recipe(), "g", threads=3)
    assert order.environment[variable] == "3"


def test_a_limit_of_memory_is_that_of_every_backend_that_has_one() -> None:
    order = Order("d", "cytearc", Path("f"), Path("o"), ("read",), Recipe(), "g", memory_limit="1.5 GB")
    assert order.environment["SCANPY_OOM_MEMORY_LIMIT"] == "1.5 GB"
    assert order.environment["CYTEARC_MEM_BUDGET"] == "1500000000"


@pytest.mark.parametrize(
    "backend, said",
    [
        ("dask", "dask is not installed (pip install dask)"),
        ("crest-disk", "crest-sc is not installed (pip install crest-sc)"),
        ("cytearc", "cytearc is not installed (pip install cytearc, on Python 3.13 or later)"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: str, said: str
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    run = measure(Order("d", backend, Path("f"), tmp_path, ("read", "qc"), Recipe(), "g"))
    assert [(found.status, found.reason) for found in run.steps] == [("failed", said), ("skipped", said)]


class Killer:
    """Kills the process that it watches, as the system does when memory runs out, at one step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def start_step(self, step: str) -> None:
        if step == self.step:
            (child,) = (
                child for child in psutil.Process().children() if "scanpy_oom.bench.worker" in " ".join(child.cmdline())
            )
            child.kill()

    def finish_step(self, step: str, seconds: float, peak: int) -> None:
        pass


def test_a_process_that_is_killed_leaves_the_costs_of_the_steps_before(tmp_path: Path) -> None:
    write_atlas(tmp_path / "small.h5ad", n_cells=300, n_genes=2500)
    steps = ("read", "qc", "filter", "normalize", "log1p")
    order = Order("small", "oom", tmp_path / "small.h5ad", tmp_path, steps, Recipe(), "leiden")
    run = measure(order, Killer("normalize"))
    assert [found.status for found in run.steps] == [*["done"] * 3, "failed", "skipped"]
    assert run.failures[0].step == "normalize"
    assert run.failures[0].reason == "killed (SIGKILL), as the system does when memory runs out"
    assert all(found.seconds > 0 for found in run.steps[:3])


# -- memory


def test_the_kernel_and_samples_see_the_same_peak() -> None:
    with PeakMemory() as memory:
        block = np.ones(20_000_000)
        del block
    assert 140e6 < memory.nbytes < 260e6
    assert memory.is_exact == Path("/proc/self/clear_refs").exists()


def test_a_process_is_watched_from_outside() -> None:
    code = "import time; x = b'1' * 100_000_000; time.sleep(0.5); del x; time.sleep(0.2)"
    with subprocess.Popen([sys.executable, "-c", code], text=True) as process:
        watch = Watch(process, Limits())
        process.wait()
        watch.close()
    assert watch.stopped is None
    assert watch.peak(0, float("inf")) > 100_000_000
    assert watch.samples[-1][1] < 100_000_000
    assert watch.peak(-1, 0) is None


def test_thinned_samples_keep_the_largest() -> None:
    samples = [(i / 10, i % 97) for i in range(5000)]
    thinned = thin(samples, 500)
    assert len(thinned) == 500
    assert max(above for _, above in thinned) == 96
    assert [at for at, _ in thinned] == sorted(at for at, _ in thinned)
    assert thin([], 10) == []
