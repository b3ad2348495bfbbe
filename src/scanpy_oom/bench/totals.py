"""Summary of repeated runs: medians, and totals over steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .results import Results, Run

__all__ = ["Figure", "cost", "done_steps", "excuse", "scaled_steps", "total"]


@dataclass(frozen=True)
class Figure:
    """A measured number over several runs: the median, the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure | None:
        """Summarise; `None` if there are no values."""
        found = list(values)
        return cls(median(found), min(found), max(found)) if found else None


def cost(runs: Sequence[Run], step: str, what: str) -> Figure | None:
    """Return what a step took: `seconds`, `peak`, `cpu_seconds` or `bytes_read`; `None` if no run has done it."""
    return Figure.of(value for run in runs if (value := _value(run, step, what)) is not None)


def total(runs: Sequence[Run], steps: Sequence[str], what: str) -> Figure | None:
    """Return what several steps took together, the most of them for `peak`; `None` if no run has done them all."""
    found = []
    for run in runs:
        values = [value for step in steps if (value := _value(run, step, what)) is not None]
        if steps and len(values) == len(steps):
            found.append(max(values) if what == "peak" else sum(values))
    return Figure.of(found)


def _value(run: Run, step: str, what: str) -> float | None:
    done = run.get(step)
    value: float | None = None if done is None else getattr(done, what)
    return value


def excuse(runs: Sequence[Run], step: str) -> str:
    """Say in a word why a step has no figures."""
    status = {found.status for run in runs for found in run.steps if found.step == step}
    return "failed" if "failed" in status else "–"


def done_steps(results: Results, dataset: str, *backends: str) -> list[str]:
    """Return the steps that all runs of all these backends have done."""
    runs = [run for backend in backends for run in results.of(dataset, backend)]
    return [step for step in results.steps(dataset) if runs and all(run.get(step) for run in runs)]


def scaled_steps(steps: Sequence[str]) -> list[str]:
    """Return the steps whose costs are followed over sizes: up to the principal components, if these are among them."""
    return list(steps[: steps.index("pca") + 1]) if "pca" in steps else list(steps)
