"""Memory and run time over the number of cells, on logarithmic axes, with fitted exponents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..backends import BACKENDS
from ..totals import scaled_steps, total
from . import theme

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from ..results import Results
    from ..totals import Figure

__all__ = ["Fit", "fit_exponents", "save_scaling"]


@dataclass(frozen=True)
class Fit:
    """Growth of the costs of a backend.

    Attributes
    ----------
    backend
        Its name.
    sizes
        Numbers of cells that were completed.
    peak, seconds
        Bytes and seconds at these.
    memory, time
        Fitted exponents.
    """

    backend: str
    sizes: list[int]
    peak: list[Figure]
    seconds: list[Figure]

    @property
    def memory(self) -> float:
        """Exponent of the memory."""
        return exponent(self.sizes, [figure.median for figure in self.peak])

    @property
    def time(self) -> float:
        """Exponent of the time."""
        return exponent(self.sizes, [figure.median for figure in self.seconds])


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return *b* of the least-squares fit of log cost = log a + b log size."""
    x, y = np.log(sizes), np.log(np.maximum(costs, 1e-9))
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


def fit_exponents(results: Results) -> list[Fit]:
    """Fit the costs up to the principal components, for each backend that completed two sizes or more."""
    datasets = sorted(results.datasets, key=lambda dataset: dataset.cells)
    fits = []
    for backend in results.backends():
        points = []
        for dataset in datasets:
            runs, steps = results.of(dataset.name, backend), scaled_steps(results.steps(dataset.name))
            peak, seconds = total(runs, steps, "peak"), total(runs, steps, "seconds")
            if peak is not None and seconds is not None:
                points.append((dataset.cells, peak, seconds))
        if len({cells for cells, _, _ in points}) > 1:
            sizes, peaks, times = zip(*points, strict=True)
            fits.append(Fit(backend, list(sizes), list(peaks), list(times)))
    return fits


def save_scaling(stem: Path, results: Results) -> Iterator[Path]:
    """Draw costs over cells, with crosses where a run took so much and did not come to its end.

    Parameters
    ----------
    stem
        Files to write, without their suffixes.
    results
        What was measured, on two sizes or more; with fewer, nothing is drawn.
    """
    fits = fit_exponents(results)
    if not fits:
        return
    with theme.style():
        figure = theme.new_figure(7.4, 3.3)
        left, right = figure.subplots(1, 2)
        for fit in fits:
            _draw(left, fit, fit.peak, 1e-6, fit.memory)
            _draw(right, fit, fit.seconds, 1, fit.time)
        _cross(left, results)
        left.set_ylabel("Peak memory above imports (MB)")
        right.set_ylabel("Run time (s)")
        theme.letter(left, "a", "Memory")
        theme.letter(right, "b", "Run time")
        for axes in (left, right):
            _frame(axes, sorted({dataset.cells for dataset in results.datasets}))
            axes.legend(fontsize=7.5, loc="upper left", handlelength=1.4)
        yield from theme.save(figure, stem)


def _draw(axes: Axes, fit: Fit, figures: Sequence[Figure], unit: float, power: float) -> None:
    values = np.array([figure.median * unit for figure in figures])
    sizes = np.array(fit.sizes, dtype=float)
    color, label = theme.COLORS[fit.backend], f"{BACKENDS[fit.backend].label} ∝ $n^{{{power:.2f}}}$"
    level = np.exp(np.mean(np.log(values)) - power * np.mean(np.log(sizes)))
    ends = np.array([sizes.min(), sizes.max()])
    axes.plot(ends, level * ends**power, color=color, linewidth=1, alpha=0.6)
    ranges = np.array([[f.median - f.low, f.high - f.median] for f in figures]).T * unit
    axes.errorbar(
        sizes,
        values,
        yerr=ranges,
        color=color,
        fmt=theme.MARKERS[fit.backend],
        markersize=5,
        elinewidth=0.8,
        label=label,
    )


def _cross(axes: Axes, results: Results) -> None:
    """Mark where a run was ended for its memory."""
    for run in results.runs:
        cells = next(dataset.cells for dataset in results.datasets if dataset.name == run.dataset)
        for found in run.failures:
            if found.peak_sampled:
                axes.plot(cells, found.peak_sampled / 1e6, "x", color=theme.COLORS[run.backend], markersize=7)
                axes.annotate(
                    "stopped", (cells, found.peak_sampled / 1e6), (0, 5), textcoords="offset points",
                    ha="center", fontsize=6.5, color=theme.FAINT,
                )  # fmt: skip


def _short(size: int) -> str:
    """Write a number of cells in few characters."""
    if size < 1000:
        return f"{size}"
    return f"{size / 1e3:.3g}k" if size < 999_500 else f"{size / 1e6:.3g}M"


def _frame(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("Cells")
    axes.set_xticks(sizes, [_short(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_tick_params(which="minor", length=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.28)  # room for the legend
    axes.grid(which="major")
