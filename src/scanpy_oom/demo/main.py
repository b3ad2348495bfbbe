"""The demo from end to end: a matrix, two runs, what they cost and whether they agree."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..settings import settings
from .compare import compare_results
from .data import GROUP, inspect_counts, make_counts, make_sample
from .display import Display, say
from .figure import save_figure
from .report import AS_THEY_ARE, Comparison, describe_failure, format_report
from .run import LABELS, run_workflow
from .steps import STEPS, Plan, choose_steps

if TYPE_CHECKING:
    from .compare import Check
    from .data import Counts
    from .run import Mode, Outcome

__all__ = ["Options", "run_demo"]


@dataclass(frozen=True)
class Options:
    """What the demo is asked to do.

    Attributes
    ----------
    file
        The counts to run on; `None` to make some.
    n_cells, n_genes, seed
        The matrix to make.
    out
        Folder for what is left behind.
    keep
        Whether the matrix that was made is left there, too.
    """

    file: Path | None = None
    n_cells: int = 20_000
    n_genes: int = 20_000
    seed: int = 0
    out: Path = Path("scanpy-oom-demo")
    keep: bool = False


def run_demo(options: Options) -> int:
    """Run the workflow in memory and out of memory, and print what it took.

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
        counts = inspect_counts(options.file or _make_counts(options, scratch))
        plan = choose_steps(counts.categories)
        _announce(counts, plan)
        compile_seconds = _compile_kernels(counts, scratch)
        memory = _run(counts, "memory", options.out, plan)
        oom = _run(counts, "oom", options.out, plan)
    checks: list[Check] = []
    if memory.failure is None and oom.failure is None:
        memory_result, oom_result = (options.out / mode / "result.h5ad" for mode in LABELS)
        checks = compare_results(memory_result, oom_result, plan.groups)
    comparison = Comparison(str(counts), plan.steps, memory, oom, compile_seconds, checks)
    _report(comparison, options.out)
    return 0 if comparison.is_success else 1


def _make_counts(options: Options, scratch: Path) -> Path:
    folder = options.out if options.keep else scratch
    return make_counts(folder / "counts.h5ad", n_cells=options.n_cells, n_genes=options.n_genes, seed=options.seed)


def _announce(counts: Counts, plan: Plan) -> None:
    say(f"{counts.path.name}: {counts}")
    if not counts.are_whole:
        say("note: X holds values that are not whole numbers; the workflow takes them for counts.")
    for step, reason in plan.left_out.items():
        say(f"note: without the step {step}: {reason}.")


def _compile_kernels(counts: Counts, scratch: Path) -> float:
    """Run both ways on a sample, so that nothing is compiled while it is measured.

    Returns
    -------
    Seconds that compiling this package's kernels took; 0 if the cache had them.
    """
    file = make_sample(counts, scratch / "sample.h5ad")
    plan = Plan(tuple(step for step in STEPS if step not in {*AS_THEY_ARE, "plot"}), GROUP)
    with Display("compiling kernels", 1, "on a sample of the cells") as display, ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda mode: run_workflow(mode, file, scratch / mode, plan), LABELS))
        display.advance(1)
    for outcome in outcomes:
        if outcome.failure:
            say(f"note: on a sample, {describe_failure(outcome)}")
    return sum(outcome.compile_seconds for outcome in outcomes)


def _run(counts: Counts, mode: Mode, out: Path, plan: Plan) -> Outcome:
    with Display(LABELS[mode], len(plan.steps)) as display:
        outcome = run_workflow(mode, counts.path, out / mode, plan, display)
    if outcome.failure:
        say(describe_failure(outcome))
    return outcome


def _report(comparison: Comparison, out: Path) -> None:
    text = format_report(comparison)
    save_figure(out / "figure.png", comparison)
    (out / "report.txt").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"\n{text}\n\nFigure, report, plots and results are in {out.resolve()}.\n")
