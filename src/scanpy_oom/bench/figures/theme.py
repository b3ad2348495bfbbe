"""Style of all figures: colours, type, and formats of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["COLORS", "FAINT", "INK", "MARKERS", "RULE", "letter", "megabytes", "new_figure", "save", "seconds", "style"]

COLORS = {
    "memory": "#9AA1AB",
    "memory-seed": "#C3C8CF",
    "oom": "#0B6E8A",
    "oom-fast": "#4FB3CE",
    "dask": "#D99A2B",
    "anndataoom": "#A8425C",
    "autozyme": "#5E6472",
    "crest": "#6A994E",
    "crest-disk": "#386641",
    "cytearc": "#7A5BA6",
}
"""Colours of the backends, which differ for the colour-blind and in grey."""

MARKERS = {
    "memory": "s",
    "memory-seed": "d",
    "oom": "o",
    "oom-fast": "h",
    "dask": "D",
    "anndataoom": "^",
    "autozyme": "v",
    "crest": "P",
    "crest-disk": "X",
    "cytearc": "p",
}
INK, FAINT, RULE = "#22262B", "#6B727C", "#E7E9EC"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "scanpy-oom",  # the same figure gives the same file
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


def style() -> AbstractContextManager[None]:
    """Return a context in which figures have this style."""
    return mpl.rc_context(STYLE)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> Iterator[Path]:
    """Write a figure as PNG and as SVG; yield the files."""
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        path = stem.with_name(stem.name + suffix)
        figure.savefig(path, dpi=200, facecolor="white", metadata=metadata)
        yield path


def letter(axes: Axes, name: str, title: str) -> None:
    """Name a panel."""
    axes.set_title(title, loc="left", fontsize=9.5, pad=8)
    axes.annotate(
        name, (0, 1), (-9, 8), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="baseline", fontsize=11.5, fontweight="bold",
    )  # fmt: skip


def seconds(value: float) -> str:
    """Write seconds beside a bar."""
    if value < 0.005:
        return "<0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def megabytes(value: float) -> str:
    """Write bytes as megabytes beside a bar."""
    return f"{value / 1e6:,.0f}"
