"""The benchmark from end to end: data, runs, agreement, tables and figures."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..settings import settings
from .agreement import compare
from .backends import BACKENDS
from .data import GROUP, check_size, inspect_counts, make_counts, make_sample
from .display import Display, say
from .environment import describe_machine, describe_versions
from .figures.scaling import save_scaling
from .figures.step_bars import save_steps
from .figures.timeline import save_timeline
from .recipe import RECIPES, STEPS, Recipe
from .results import Dataset, Results
from .run import Order, measure
from .table import format_growth, format_report, format_steps, format_totals
from .watch import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .data import Counts
    from .results import Run

__all__ = ["Options", "compile_kernels", "describe", "draw", "run_backend", "run_bench"]

NOT_COMPILED = ("neighbors", "umap", "leiden", "plot")
"""Steps that need no first run: nothing in scanpy's own is kept compiled from one process to the next."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmark.

    Attributes
    ----------
    files
        Counts to run on; none to make some.
    cells, genes, seed
        The matrices to make: one for each number of cells.
    backends, steps, recipe
        What is run.
    repeat
        How often each backend is run.
    limits
        When a run is stopped.
    memory_limit, threads
        Settings of scanpy-oom, and of CyteArc, which has a budget, too; `None` for their own. The number of threads
        holds for all.
    cold
        Whether to do without a first run on a sample of the cells, which has kernels compiled.
    out
        Folder for what is left behind.
    keep
        Whether matrices that were made are left there, too.
    """

    files: Sequence[Path] = ()
    cells: Sequence[int] = (20_000,)
    genes: int = 20_000
    seed: int = 0
    backends: Sequence[str] = ("memory", "oom")
    steps: Sequence[str] = STEPS
    recipe: Recipe = field(default_factory=lambda: RECIPES["scanpy"])
    repeat: int = 1
    limits: Limits = field(default_factory=Limits)
    memory_limit: str | None = None
    threads: int | None = None
    cold: bool = False
    out: Path = Path("scanpy-oom-bench")
    keep: bool = False

    def order(self, counts: Counts, backend: str) -> Order:
        """Return the task of a process that runs one backend on one file."""
        return Order(
            dataset=counts.path.stem,
            backend=backend,
            file=counts.path,
            out=self.out / backend,
            steps=self.steps,
            recipe=self.recipe,
            groups="leiden" if "leiden" in self.steps else next(iter(counts.categories), "leiden"),
            limits=self.limits,
            memory_limit=self.memory_limit,
            threads=self.threads,
        )

    def begin(self) -> Results:
        """Return the empty record of a benchmark that begins now on this machine."""
        settings = {
            "steps": list(self.steps),
            "recipe": asdict(self.recipe),
            "repeat": self.repeat,
            "memory_limit": self.memory_limit,
            "threads": self.threads,
            "cold": self.cold,
        }
        return Results(describe_machine(), describe_versions(), settings)


def run_bench(options: Options) -> int:
    """Run, measure, compare, and leave tables and figures.

    Returns
    -------
    0 if scanpy-oom, or without it any backend, has done all steps on every data set, 1 otherwise.

    Raises
    ------
    UnsuitableInput, FileNotFoundError, IsADirectoryError, OOMError
        If the workflow cannot run on a file.
    """
    files = [inspect_counts(file) for file in options.files]  # before any of them is run on
    for cells in options.cells if not files else ():
        check_size(cells, options.genes)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.begin()
    with TemporaryDirectory(prefix="scanpy-oom-bench-", dir=settings.scratch_dir) as folder:
        scratch, compiled = Path(folder), set[tuple[str, ...]]()
        for counts, made in _data(options, files, scratch):
            stored = (counts.format, str(counts.dtype), counts.compression)
            if not options.cold and stored not in compiled:
                compile_kernels(options, counts, scratch)
                compiled.add(stored)
            _run_all(options, results, counts, made)
            results.write_json(options.out / "results.json")  # what has been measured is not lost
    draw(results, options.out)
    first = "oom" if "oom" in options.backends else options.backends[0]
    done = [run.get(step) for run in results.runs if run.backend == first for step in options.steps]
    return 0 if all(done) else 1


def draw(results: Results, out: Path) -> None:
    """Write JSON, CSV, tables and figures, and print the tables."""
    out.mkdir(parents=True, exist_ok=True)
    results.write_json(out / "results.json")
    results.write_csv(out / "results.csv")
    report = format_report(results)
    (out / "report.md").write_text(report, encoding="utf-8")
    for dataset in results.datasets:
        (out / f"{dataset.name}-steps.md").write_text(format_steps(results, dataset.name), encoding="utf-8")
        (out / f"{dataset.name}-totals.md").write_text(format_totals(results, dataset), encoding="utf-8")
        list(save_steps(out / f"{dataset.name}-steps", results, dataset))
        list(save_timeline(out / f"{dataset.name}-memory", results, dataset))
    if growth := format_growth(results):
        (out / "scaling.md").write_text(growth, encoding="utf-8")
        list(save_scaling(out / "scaling", results))
    sys.stdout.write(f"\n{report}\nTables, figures and records are in {out.resolve()}.\n")


def _data(options: Options, files: Sequence[Counts], scratch: Path) -> Iterator[tuple[Counts, int | None]]:
    for counts in files:
        yield counts, None
    for cells in options.cells if not files else ():
        path = (options.out if options.keep else scratch) / f"{cells}x{options.genes}.h5ad"
        yield inspect_counts(make_counts(path, n_cells=cells, n_genes=options.genes, seed=options.seed)), options.seed


def _run_all(options: Options, results: Results, counts: Counts, made: int | None) -> None:
    dataset = describe(counts, made)
    results.datasets.append(dataset)
    say(f"{dataset.name}: {dataset}")
    for repeat in range(options.repeat):
        for backend in options.backends:
            out = options.out / "runs" / f"{dataset.name}-{backend}-{repeat}"
            order = replace(options.order(counts, backend), out=out, repeat=repeat)
            results.runs.append(run_backend(order, BACKENDS[backend].label))
    _compare(results, dataset, options)


def describe(counts: Counts, made: int | None) -> Dataset:
    """Return the record of a file."""
    cells, genes = counts.shape
    return Dataset(
        name=counts.path.stem,
        cells=cells,
        genes=genes,
        nnz=round(counts.density * cells * genes),
        format=counts.format,
        dtype=str(counts.dtype),
        compression=counts.compression,
        file_bytes=counts.path.stat().st_size,
        made=made,
    )


def compile_kernels(options: Options, counts: Counts, scratch: Path) -> list[Run]:
    """Run every backend on a sample, so that nothing that is kept compiled is compiled while it is measured."""
    sample = replace(counts, path=make_sample(counts, scratch / "sample.h5ad"))
    orders = [
        replace(
            options.order(sample, backend),
            out=scratch / f"sample-{backend}",
            steps=[step for step in options.steps if step not in NOT_COMPILED or BACKENDS[backend].keeps_graph_kernels],
            groups=GROUP,
            save="",
        )
        for backend in options.backends
    ]
    with Display("compiling kernels", 1, "on a sample of the cells") as display, ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(measure, orders))
        display.advance(1)
    for run in runs:
        for failure in run.told(BACKENDS[run.backend].label):
            say(f"note: on a sample, {failure}")
    return runs


def run_backend(order: Order, label: str) -> Run:
    """Run a backend, and show how far it is."""
    with Display(label, len(order.steps)) as display:
        found = measure(order, display)
    for failure in found.told(label):
        say(failure)
    return found


def _compare(results: Results, dataset: Dataset, options: Options) -> None:
    """Compare the first run of each backend with that in memory, or with the first that has results."""
    folder = options.out / "runs"
    files = {b: folder / f"{dataset.name}-{b}-0" / "result.npz" for b in ("memory", *options.backends)}
    able = [b for b in files if b in options.backends and files[b].exists()]
    results.agreement += [compare(dataset.name, backend, able[0], files) for backend in able[1:]]
