"""The table of both runs, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .run import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .compare import Check
    from .run import Outcome, StepCost

__all__ = ["AS_THEY_ARE", "format_checks", "format_table", "ratio"]

AS_THEY_ARE = ("neighbors", "umap", "leiden")  # scanpy's own code in both runs: they work on X_pca, not on the matrix
WIDTH = 18


def ratio(memory: float, oom: float, *, smallest: float) -> str:
    """Write how many times more `memory` is than `oom`; nothing where both are too small to be compared."""
    if memory < smallest and oom < smallest:
        return "-"
    times = memory / max(oom, smallest)
    return f"{times:.0f}x" if times >= 10 else f"{times:.1f}x" if times >= 1 else f"{times:.2f}x"


def format_table(memory: Outcome, oom: Outcome, *, steps: Sequence[str], compile_seconds: float) -> str:
    """Lay out seconds and peak memory of each step in both runs.

    Parameters
    ----------
    memory, oom
        The runs.
    steps
        The steps in their order, whether they were completed or not.
    compile_seconds
        What compiling kernels took before the runs; 0 if there was nothing to compile.
    """
    return "\n".join(_lines(memory, oom, steps, compile_seconds))


def _lines(memory: Outcome, oom: Outcome, steps: Sequence[str], compile_seconds: float) -> Iterator[str]:
    rule = "-" * (WIDTH + 58)
    yield f"{'':<{WIDTH}}{LABELS['memory']:>20}{LABELS['oom']:>20}{'ratio':>18}"
    yield f"{'step':<{WIDTH}}" + f"{'seconds':>10}{'peak MB':>10}" * 2 + f"{'time':>9}{'memory':>9}"
    yield rule
    if compile_seconds:
        yield f"{'compile (once)':<{WIDTH}}{'-':>10}{'-':>10}{compile_seconds:>10.2f}{'-':>10}{'-':>9}{'-':>9}"
    for step in steps:
        yield _row(step, memory.costs.get(step), oom.costs.get(step))
    yield rule
    both = [step for step in steps if step in memory.costs and step in oom.costs]
    own = [step for step in both if step not in AS_THEY_ARE]
    yield _total("on the matrix *", memory, oom, own)
    yield _total("total", memory, oom, both)
    yield ""
    yield f"* without {', '.join(step for step in AS_THEY_ARE if step in steps)}: they work on X_pca, as they are, in both runs."
    yield "Peak MB is resident memory above that after the imports; the ratio is in memory : out of memory."


def _row(name: str, memory: StepCost | None, oom: StepCost | None) -> str:
    cells = "".join(
        f"{cost.seconds:>10.2f}{cost.peak / 1e6:>10.0f}" if cost else f"{'failed':>10}{'-':>10}" for cost in (memory, oom)
    )
    if memory is None or oom is None:
        return f"{name:<{WIDTH}}{cells}{'-':>9}{'-':>9}"
    times = ratio(memory.seconds, oom.seconds, smallest=0.05), ratio(memory.peak, oom.peak, smallest=1e6)
    return f"{name:<{WIDTH}}{cells}{times[0]:>9}{times[1]:>9}"


def _total(name: str, memory: Outcome, oom: Outcome, steps: Sequence[str]) -> str:
    ...


def format_checks(checks: Sequence[Check]) -> str:
    """Lay out what was compared."""
    lines = ["Do the results agree?"]
    lines += [f"  {'yes' if check.agrees else 'NO ':<4} {check.what:<36} {check.found}" for check in checks]
    return "\n".join(lines)
