"""Memory and run time of each step, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..backends import BACKENDS
from ..totals import cost, done_steps, excuse, total
from . import theme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from ..results import Dataset, Results

__all__ = ["save_steps"]

GROUP = 0.8
"""Thickness of the bars of a step, which takes 1."""


def save_steps(stem: Path, results: Results, dataset: Dataset) -> Iterator[Path]:
    """Draw peak memory and run time of each step by backend.

    Parameters
    ----------
    stem
        Files to write, without their suffixes.
    results, dataset
        What was measured, and on what.
    """
    backends, steps = results.backends(dataset.name), results.steps(dataset.name)
    with theme.style():
        figure = theme.new_figure(7.4, 1.15 + len(steps) * (0.16 + 0.105 * len(backends)))
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, results, dataset.name, "peak", 1e6, theme.megabytes)
        _draw(right, results, dataset.name, "seconds", 1, theme.seconds)
        left.set_xlabel("Peak memory above imports (MB)")
        right.set_xlabel("Run time (s)")
        theme.letter(left, "a", "Memory")
        theme.letter(right, "b", "Run time")
        handles, _ = left.get_legend_handles_labels()
        labels = [_label(results, dataset.name, backend) for backend in backends]
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=8, handlelength=1, columnspacing=1.5)
        figure.supxlabel(str(dataset), x=0.01, ha="left", fontsize=7, color=theme.FAINT)
        yield from theme.save(figure, stem)


def _label(results: Results, dataset: str, backend: str) -> str:
    runs, done = results.of(dataset, backend), done_steps(results, dataset, backend)
    peak, seconds = total(runs, done, "peak"), total(runs, done, "seconds")
    label = BACKENDS[backend].label
    if peak is None or seconds is None:
        return f"{label}: did not run"
    n_steps = len(results.steps(dataset))
    part = "" if len(done) == n_steps else f" ({len(done)} of {n_steps} steps)"
    return f"{label}: {theme.megabytes(peak.median)} MB, {theme.seconds(seconds.median)} s{part}"


def _draw(axes: Axes, results: Results, dataset: str, what: str, unit: float, write: Callable[[float], str]) -> None:
    backends, steps = results.backends(dataset), results.steps(dataset)
    height, at = GROUP / len(backends), np.arange(len(steps))
    for i, backend in enumerate(backends):
        runs = results.of(dataset, backend)
        figures = [cost(runs, step, what) for step in steps]
        lengths = [0 if figure is None else figure.median / unit for figure in figures]
        offset = (i - (len(backends) - 1) / 2) * height
        bars = axes.barh(
            at + offset, lengths, height=height * 0.92, color=theme.COLORS[backend], label=BACKENDS[backend].label
        )
        ranges = [(y, f) for y, f in zip(at + offset, figures, strict=True) if f is not None and f.high > f.low]
        for y, figure in ranges:
            axes.plot([figure.low / unit, figure.high / unit], [y, y], color=theme.INK, linewidth=0.7)
        texts = [
            excuse(runs, step) if figure is None else write(figure.median)
            for step, figure in zip(steps, figures, strict=True)
        ]
        axes.bar_label(bars, texts, padding=2.5, fontsize=6, color=theme.FAINT)
    _frame(axes, steps)


def _frame(axes: Axes, steps: Sequence[str]) -> None:
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_yticks(np.arange(len(steps)), steps)
    axes.set_ylim(len(steps) - 0.45, -0.55)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0, labelcolor=theme.INK)
    axes.grid(axis="x")
