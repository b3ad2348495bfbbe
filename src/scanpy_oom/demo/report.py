"""Results of the demo, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bench.totals import excuse, total
from ..tables import text_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..bench.results import Run
    from .compare import Check

__all__ = ["LABELS", "Comparison", "format_report", "ratio"]

LABELS = {"memory": "in memory", "oom": "out of memory"}
"""The backends that are compared, and how they are called here."""

AS_THEY_ARE = ("neighbors", "umap", "leiden")  # the steps that do not touch the matrix
LEAST_COMPILING = 0.1  # seconds that are worth a word
NOTHING = "–"


@dataclass(frozen=True)
class Comparison:
    """Two runs of one workflow.

    Attributes
    ----------
    subject
        What it was run on.
    memory, oom
        The runs.
    compile_seconds
        What compiling kernels took beforehand; 0 if there was nothing to compile.
    checks
        What was compared; empty if there were not two results to compare.
    """

    subject: str
    memory: Run
    oom: Run
    compile_seconds: float = 0.0
    checks: Sequence[Check] = ()

    @property
    def steps(self) -> list[str]:
        """The steps in their order, whether they were completed or not."""
        return [found.step for found in self.oom.steps]

    @property
    def common(self) -> list[str]:
        """The steps that both runs completed."""
        return [step for step in self.steps if self.memory.get(step) and self.oom.get(step)]

    @property
    def is_success(self) -> bool:
        """True if the run out of memory was completed, and nothing that was compared differs."""
        return self.oom.is_complete and all(check.agrees for check in self.checks)


def ratio(memory: float, oom: float, *, smallest: float) -> str:
    """Write how many times `oom` goes into `memory`; a dash where both are too small to be compared."""
    if memory < smallest and oom < smallest:
        return NOTHING
    times = memory / max(oom, smallest)
    return f"{times:.0f}x" if times >= 10 else f"{times:.1f}x" if times >= 1 else f"{times:.2f}x"


def format_report(comparison: Comparison) -> str:
    """Lay out what each step took in both runs, what failed, and what was compared."""
    parts = [*_table(comparison), "", *_remarks(comparison), "", *_verdict(comparison)]
    return "\n".join([comparison.subject, "", *parts])


def _table(comparison: Comparison) -> Iterator[str]:
    common = comparison.common
    head = [
        ["", "", LABELS["memory"], "", LABELS["oom"], "", "ratio"],
        ["step", *["seconds", "peak MB"] * 2, "time", "memory"],
    ]
    if comparison.compile_seconds:
        compiling = f"{comparison.compile_seconds:.2f}"
        head.append(["compile (once)", NOTHING, NOTHING, compiling, NOTHING, NOTHING, NOTHING])
    body = [_row(step, [step], comparison) for step in comparison.steps]
    sums = []
    if "pca" in common:
        sums.append(_row("read to pca", common[: common.index("pca") + 1], comparison))
    if common:
        name = "total" if len(common) == len(comparison.steps) else "completed by both"
        sums.append(_row(name, common, comparison))
    lines = text_table([*head, *body, *sums], left=[0])
    rule, end = "-" * max(map(len, lines)), len(lines) - len(sums)
    yield from (*lines[:2], rule, *lines[2:end], rule, *lines[end:])


def _row(name: str, steps: Sequence[str], comparison: Comparison) -> list[str]:
    cells, sums = [], []
    for run in (comparison.memory, comparison.oom):
        seconds, peak = (total([run], steps, what) for what in ("seconds", "peak"))
        if seconds is None or peak is None:
            cells += [excuse([run], name), NOTHING]
        else:
            cells += [f"{seconds.median:.2f}", f"{peak.median / 1e6:.0f}"]
            sums.append((seconds.median, peak.median))
    if len(sums) < 2:
        return [name, *cells, NOTHING, NOTHING]
    times, peaks = zip(*sums, strict=True)
    return [name, *cells, ratio(*times, smallest=0.05), ratio(*peaks, smallest=1e6)]


def _remarks(comparison: Comparison) -> Iterator[str]:
    if as_they_are := [step for step in AS_THEY_ARE if step in comparison.steps]:
        yield f"{', '.join(as_they_are)} work on X_pca: scanpy's own code runs in both."
    yield "Peak MB is resident memory above that after the imports; the ratio is in memory : out of memory."
    if comparison.oom.compile_seconds >= LEAST_COMPILING:
        yield f"{comparison.oom.compile_seconds:.1f} s of the seconds out of memory went into compiling kernels."


def _verdict(comparison: Comparison) -> Iterator[str]:
    for run in (comparison.memory, comparison.oom):
        yield from run.told(LABELS[run.backend])
    if not comparison.checks:
        yield "The results cannot be compared."
        return
    yield "Do the results agree?"
    rows = [("yes" if check.agrees else "NO", check.what, check.found) for check in comparison.checks]
    yield from (f"  {line}" for line in text_table(rows, left=range(3)))
    yield ""
    yield "The results agree." if comparison.is_success else "The results DISAGREE."
