"""What the demo found, as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .run import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .compare import Check
    from .run import Outcome, StepCost

__all__ = ["AS_THEY_ARE", "Comparison", "describe_failure", "format_report", "ratio"]

AS_THEY_ARE = ("neighbors", "umap", "leiden")  # the steps that do not touch the matrix
WIDTH = 18  # of the column of steps
LEAST_COMPILING = 0.1  # seconds that are worth a word


@dataclass(frozen=True)
class Comparison:
    """Two runs of one workflow.

    Attributes
    ----------
    subject
        What it was run on.
    steps
        The steps in their order, whether they were completed or not.
    memory, oom
        The runs.
    compile_seconds
        What compiling kernels took beforehand; 0 if there was nothing to compile.
    checks
        What was compared; empty if there were not two results to compare.
    """

    subject: str
    steps: Sequence[str]
    memory: Outcome
    oom: Outcome
    compile_seconds: float = 0.0
    checks: Sequence[Check] = field(default_factory=tuple)

    @property
    def common(self) -> list[str]:
        """The steps that both runs completed."""
        return [step for step in self.steps if step in self.memory.costs and step in self.oom.costs]

    @property
    def is_success(self) -> bool:
        """Whether the run out of memory was completed, and nothing that was compared differs."""
        return self.oom.failure is None and all(check.agrees for check in self.checks)


def ratio(memory: float, oom: float, *, smallest: float) -> str:
    """Write how many times `oom` goes into `memory`; a dash where both are too small to be compared."""
    if memory < smallest and oom < smallest:
        return "-"
    times = memory / max(oom, smallest)
    return f"{times:.0f}x" if times >= 10 else f"{times:.1f}x" if times >= 1 else f"{times:.2f}x"


def format_report(comparison: Comparison) -> str:
    """Lay out what each step took in both runs, what failed, and what was compared."""
    return "\n".join([comparison.subject, "", *_table(comparison), "", *_verdict(comparison)])


def _table(comparison: Comparison) -> Iterator[str]:
    memory, oom, common = comparison.memory, comparison.oom, comparison.common
    rule = "-" * (WIDTH + 58)
    yield f"{'':<{WIDTH}}{LABELS['memory']:>20}{LABELS['oom']:>20}{'ratio':>18}"
    yield f"{'step':<{WIDTH}}" + f"{'seconds':>10}{'peak MB':>10}" * 2 + f"{'time':>9}{'memory':>9}"
    yield rule
    if comparison.compile_seconds:
        seconds = f"{comparison.compile_seconds:>10.2f}"
        yield f"{'compile (once)':<{WIDTH}}{'-':>10}{'-':>10}{seconds}{'-':>10}{'-':>9}{'-':>9}"
    for step in comparison.steps:
        yield _row(step, *(outcome.costs.get(step) or outcome.excuse(step) for outcome in (memory, oom)))
    yield rule
    if "pca" in common:
        to_pca = common[: common.index("pca") + 1]
        yield _row("read to pca", memory.total(to_pca), oom.total(to_pca))
    name = "total" if len(common) == len(comparison.steps) else "completed by both"
    yield _row(name, memory.total(common), oom.total(common))
    yield ""
    yield f"{', '.join(AS_THEY_ARE)} work on X_pca: scanpy's own code runs in both."
    yield "Peak MB is resident memory above that after the imports; the ratio is in memory : out of memory."
    if oom.compile_seconds >= LEAST_COMPILING:
        yield f"{oom.compile_seconds:.1f} s of the seconds out of memory went into compiling kernels."


def _verdict(comparison: Comparison) -> Iterator[str]:
    for outcome in (comparison.memory, comparison.oom):
        if outcome.failure:
            yield describe_failure(outcome)
    if not comparison.checks:
        yield "The results cannot be compared."
        return
    yield "Do the results agree?"
    for check in comparison.checks:
        yield f"  {'yes' if check.agrees else 'NO':<4} {check.what:<36} {check.found}"
    yield ""
    yield "The results agree." if comparison.is_success else "The results DISAGREE."


def describe_failure(outcome: Outcome) -> str:
    """Say which step failed, and why."""
    return f"{LABELS[outcome.mode]}: failed in the step {outcome.step}: {outcome.failure}"


def _row(name: str, memory: StepCost | str, oom: StepCost | str) -> str:
    cells = "".join(
        f"{cost:>10}{'-':>10}" if isinstance(cost, str) else f"{cost.seconds:>10.2f}{cost.peak / 1e6:>10.0f}"
        for cost in (memory, oom)
    )
    if isinstance(memory, str) or isinstance(oom, str):
        return f"{name:<{WIDTH}}{cells}{'-':>9}{'-':>9}"
    times = ratio(memory.seconds, oom.seconds, smallest=0.05), ratio(memory.peak, oom.peak, smallest=1e6)
    return f"{name:<{WIDTH}}{cells}{times[0]:>9}{times[1]:>9}"
