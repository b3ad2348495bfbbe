"""The demo from end to end: the benchmark of two backends on one matrix, as a table of both side by side."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..bench.data import inspect_counts, make_counts
from ..bench.display import say
from ..bench.figures.step_bars import save_steps
from ..bench.main import compile_kernels, describe, run_backend
from ..bench.recipe import RECIPES, STEPS
from ..settings import settings
from .compare import compare_results
from .report import LABELS, Comparison, format_report

if TYPE_CHECKING:
    from ..bench.data import Counts
    from ..bench.main import Options

__all__ = ["RECIPE", "left_out", "run_demo"]

RECIPE = replace(RECIPES["scanpy"], n_ranked=100)


def run_demo(options: Options) -> int:
    """Run the workflow in memory and out of memory, and print what it took.

    Parameters
    ----------
    options
        Those of the benchmark; one file or one size, and the steps and the recipe of the demo.

    Returns
    -------
    0 if the run out of memory was completed and nothing that was compared differs, 1 otherwise.

    Raises
    ------
    UnsuitableInput, FileNotFoundError, IsADirectoryError, OOMError
        If the workflow cannot run on the file.
    """
    with TemporaryDirectory(prefix="scanpy-oom-demo-", dir=settings.scratch_dir) as folder:
        scratch = Path(folder)
        counts = inspect_counts(options.files[0] if options.files else _make_counts(options, scratch))
        missing = left_out(counts.categories)
        options = replace(options, recipe=RECIPE, steps=[step for step in STEPS if step not in missing])
        _announce(counts, missing)
        sample = compile_kernels(options, counts, scratch)
        results = options.begin()
        results.datasets.append(describe(counts, None if options.files else options.seed))
        orders = {backend: replace(options.order(counts, backend), save=".h5ad") for backend in LABELS}
        results.runs += [run_backend(orders[backend], label) for backend, label in LABELS.items()]
    memory, oom = results.runs
    in_memory, out_of_memory = (order.out / "result.h5ad" for order in orders.values())
    are_complete = memory.is_complete and oom.is_complete
    checks = compare_results(in_memory, out_of_memory, orders["oom"].groups) if are_complete else []
    comparison = Comparison(str(counts), memory, oom, sum(run.compile_seconds for run in sample), checks)
    text = format_report(comparison)
    results.write_json(options.out / "results.json")
    list(save_steps(options.out / "figure", results, results.datasets[0]))
    (options.out / "report.txt").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"\n{text}\n\nFigure, report, plots and results are in {options.out.resolve()}.\n")
    return 0 if comparison.is_success else 1


def left_out(categories: list[str]) -> dict[str, str]:
    """Name the steps of the benchmark that are not taken, and say why; nothing of those that the demo never takes.

    Parameters
    ----------
    categories
        Categorical columns of the file's obs: the first stands in for clusters where there can be none.
    """
    missing = {"wilcoxon": "", "write": ""}
    if not find_spec("igraph"):
        missing["leiden"] = "igraph is not installed (pip install igraph)"
        if not categories:
            missing["t-test"] = "without clusters, and without a categorical column in obs, there are no groups"
    return missing


def _make_counts(options: Options, scratch: Path) -> Path:
    folder, (cells, *_) = options.out if options.keep else scratch, options.cells
    return make_counts(folder / "counts.h5ad", n_cells=cells, n_genes=options.genes, seed=options.seed)


def _announce(counts: Counts, missing: dict[str, str]) -> None:
    say(f"{counts.path.name}: {counts}")
    if not counts.are_whole:
        say("note: X holds values that are not whole numbers; the workflow takes them for counts.")
    for step, reason in missing.items():
        if reason:
            say(f"note: without the step {step}: {reason}.")
