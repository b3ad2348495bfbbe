"""Scales of the plot: time, where long breaks are cut short, and round numbers for ticks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Piece", "TimeAxis", "format_time", "round_step"]

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
CUT_WIDTH = 0.02
"""Width of a break that is cut short, as a part of that of all calls."""


@dataclass(frozen=True)
class Piece:
    """A stretch of time, and where it is drawn: from 0 to 1."""

    begin: float
    end: float
    left: float
    right: float
    is_cut: bool

    def at(self, time: float) -> float:
        """Return where a time is drawn."""
        return self.left + (self.right - self.left) * (time - self.begin) / (self.end - self.begin)


class TimeAxis:
    """Maps times to places from 0 to 1.

    Breaks between calls, as of somebody who thinks before the next one, are drawn narrow if they are long.

    Parameters
    ----------
    begin, end
        What it reaches over.
    busy
        Begin and end of what was done between, in any order.
    """

    def __init__(self, begin: float, end: float, busy: Iterable[tuple[float, float]]) -> None:
        end = max(end, begin + 0.001)
        breaks = _breaks(begin, end, busy)
        worked = (end - begin) - sum(stop - start for start, stop in breaks)
        cut = [pause for pause in breaks if pause[1] - pause[0] > max(5.0, 0.2 * worked)]
        edges = sorted({begin, end, *(edge for pause in cut for edge in pause)})
        spans = [(start, stop, (start, stop) in cut) for start, stop in pairwise(edges)]
        drawn = sum(stop - start for start, stop, is_cut in spans if not is_cut)
        widths = [CUT_WIDTH if is_cut else (stop - start) / (drawn or 1) for start, stop, is_cut in spans]
        self.begin, self.drawn = begin, drawn
        self.pieces: list[Piece] = []
        left = 0.0
        for (start, stop, is_cut), width in zip(spans, widths, strict=True):
            right = left + width / sum(widths)
            self.pieces.append(Piece(start, stop, left, right, is_cut))
            left = right

    def at(self, time: float) -> float:
        """Return where a time is drawn."""
        time = min(max(time, self.begin), self.pieces[-1].end)
        return next(piece for piece in self.pieces if time <= piece.end).at(time)

    def ticks(self, n: int) -> list[tuple[float, float]]:
        """Return about `n` round times, as seconds from the beginning, and where they are drawn."""
        step = next((step for step in _STEPS if step >= self.drawn / n), 86400 * max(1, self.drawn // (86400 * n)))
        ticks = []
        for piece in self.pieces:
            if not piece.is_cut:
                first, last = (int((edge - self.begin) // step) for edge in (piece.begin, piece.end))
                times = (i * step for i in range(first, last + 1) if self.begin + i * step >= piece.begin)
                ticks += [(time, piece.at(self.begin + time)) for time in times]
        return ticks


def _breaks(begin: float, end: float, busy: Iterable[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return the stretches from `begin` to `end` in which nothing was done."""
    breaks, free = [], begin
    for start, stop in sorted(busy):
        if start > free:
            breaks.append((free, start))
        free = max(free, stop)
    return [*breaks, (free, end)] if end > free else breaks


def round_step(largest: float, n: int) -> float:
    """Return a round number of which about `n` make `largest`."""
    power = 1.0
    while power * 10 <= largest / n:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= largest / n)


def format_time(seconds: float) -> str:
    """Write a time as people read it: ``"90 s"``, ``"12 min"``, ``"2.5 h"``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
