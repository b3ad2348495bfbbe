"""The figure of both runs: memory and run time by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .report import ratio
from .run import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes

    from .report import Comparison
    from .run import Mode, StepCost

__all__ = ["save_figure"]

COLORS: dict[Mode, str] = {"memory": "#B4B9C2", "oom": "#0B6E8A"}
INK, FAINT = "#22262B", "#6B727C"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
}
BAR = 0.38  # thickness of a bar; a step takes 1


def save_figure(path: Path, comparison: Comparison) -> None:
    """Draw peak memory and run time of each step in both runs, and save the figure.

    Parameters
    ----------
    path
        File to write; its suffix says in which format.
    comparison
        The runs.
    """
    totals = comparison.memory.total(comparison.common), comparison.oom.total(comparison.common)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 1.5 + 0.34 * len(comparison.steps)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_panel(left, comparison, measure=lambda cost: cost.peak / 1e6)
        _draw_panel(right, comparison, measure=lambda cost: cost.seconds)
        left.set_xlabel("Peak memory above imports (MB)")
        right.set_xlabel("Run time (s)")
        titles = ["Memory", "Run time"]
        if len(comparison.common) == len(comparison.steps):
            titles[0] += f": at most {_compare(totals[0].peak / 1e6, totals[1].peak / 1e6, 'MB', smallest=1)}"
            titles[1] += f": in total {_compare(totals[0].seconds, totals[1].seconds, 's', smallest=0.05)}"
        _name_panel(left, "a", titles[0])
        _name_panel(right, "b", titles[1])
        figure.suptitle(comparison.subject, x=0.01, y=0.985, ha="left", va="top", fontsize=9, color=FAINT)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, handlelength=1, fontsize=9)
        figure.savefig(path, dpi=200, facecolor="white")


def _draw_panel(axes: Axes, comparison: Comparison, *, measure: Callable[[StepCost], float]) -> None:
    steps = comparison.steps
    at = np.arange(len(steps))
    for outcome, offset in ((comparison.memory, -BAR / 2), (comparison.oom, BAR / 2)):
        values = [measure(outcome.costs[step]) if step in outcome.costs else None for step in steps]
        lengths = [value or 0 for value in values]
        bars = axes.barh(at + offset, lengths, height=BAR, color=COLORS[outcome.mode], label=LABELS[outcome.mode])
        texts = [
            outcome.excuse(step) if value is None else _format(value) for step, value in zip(steps, values, strict=True)
        ]
        axes.bar_label(bars, texts, padding=2.5, fontsize=6.5, color=FAINT)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_yticks(at, steps)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#E7E9EC", linewidth=0.6)
    axes.set_axisbelow(True)


def _name_panel(axes: Axes, letter: str, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, pad=8)
    axes.annotate(
        letter, (0, 1), (-8, 8), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="baseline", fontsize=12, fontweight="bold",
    )  # fmt: skip


def _compare(memory: float, oom: float, unit: str, *, smallest: float) -> str:
    times = ratio(memory, oom, smallest=smallest).replace("x", "×")
    return f"{_format(memory)} → {_format(oom)} {unit} ({times})"


def _format(value: float) -> str:
    if value < 0.005:
        return "<0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"
