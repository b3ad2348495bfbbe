"""Memory over time, a panel for each backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..backends import BACKENDS
from . import theme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes

    from ..results import Dataset, Results, Run

__all__ = ["save_timeline"]

LETTER = 0.0105
"""Width of a letter of a step's name, as a part of that of the panel."""


def save_timeline(stem: Path, results: Results, dataset: Dataset) -> Iterator[Path]:
    """Draw resident memory over time in the first run of each backend, on the same axes.

    Parameters
    ----------
    stem
        Files to write, without their suffixes.
    results, dataset
        What was measured, and on what.
    """
    runs = [
        run for backend in results.backends(dataset.name) for run in results.of(dataset.name, backend)[:1] if run.memory
    ]
    if not runs:
        return
    with theme.style():
        figure = theme.new_figure(7.4, 0.75 + 1.25 * len(runs))
        panels = figure.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        longest = max(at for run in runs for at, _ in run.memory)
        for axes, run in zip(panels, runs, strict=True):
            _draw(axes, run, longest)
        panels[0].set_xlim(0, longest * 1.005)
        panels[0].set_ylim(0, 1.2 * max(above for run in runs for _, above in run.memory) / 1e6)  # names above curves
        panels[-1].set_xlabel("Time (s)")
        figure.supylabel("Memory above imports (MB)", fontsize=8.5)
        yield from theme.save(figure, stem)


def _draw(axes: Axes, run: Run, longest: float) -> None:
    at, above = np.array(run.memory).T
    color = theme.COLORS[run.backend]
    axes.fill_between(at, above / 1e6, color=color, alpha=0.22, linewidth=0)
    axes.plot(at, above / 1e6, color=color, linewidth=1)
    ends = ""
    for i, found in enumerate(found for found in run.steps if found.status == "done"):
        if i % 2:
            axes.axvspan(found.begin, found.end, color="#F4F5F6", zorder=0, linewidth=0)
        if (found.end - found.begin) / longest > LETTER * len(found.step):
            axes.text(
                (found.begin + found.end) / 2, 0.97, found.step, transform=axes.get_xaxis_transform(),
                ha="center", va="top", fontsize=6.5, color=theme.FAINT,
            )  # fmt: skip
    if run.failures:
        ends = f"; failed: {', '.join(found.step for found in run.failures)}"
    peak = max(*above, *(found.peak or 0 for found in run.steps)) / 1e6
    axes.set_title(
        f"{BACKENDS[run.backend].label}: {peak:,.0f} MB{ends}", loc="left", fontsize=8.5, pad=4, color=theme.INK
    )
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y")
