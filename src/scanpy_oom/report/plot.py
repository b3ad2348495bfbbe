"""Memory over time with the calls below it, as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..settings import format_bytes
from .axes import TimeAxis, format_time, round_step
from .text import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..dispatch.plugins.hookspecs import DispatchedCall
    from .summary import Report

__all__ = ["CLASSES", "plot"]

CLASSES = {"out of memory": "oom", "scanpy as it is": "plain", "materialised": "fallback"}
"""Names in the style sheet of who ran a call."""

WIDTH, LEFT, RIGHT = 1080, 68, 14
TOP, BOTTOM = 62, 292  # of the curve
LANE = (300, 314)  # the strip of calls
HEIGHT = 346
LETTER = 6.1  # width of a letter of a label, roughly
LABEL_ROWS = 4
SHOWN_LIMIT = 3
"""How many times the peak a limit may be for the plot to reach up to it."""


def plot(report: Report) -> str:
    """Draw resident memory over time above that at the beginning, the calls by the user, and the limit if there is one.

    Returns
    -------
    An ``svg`` element; the colours are those of the style sheet.
    """
    return _Plot(report).draw()


class _Plot:
    def __init__(self, report: Report) -> None:
        recorded = report.recorded
        self.calls = [call for call in report.calls if not call.depth]
        self.memory = [(at, resident - recorded.baseline) for at, resident in recorded.memory]
        begin = min([recorded.started or recorded.ended, *(call.started for call in self.calls)])
        last = max([begin, *(call.started + call.seconds for call in self.calls)])
        # What comes after the last call says nothing of any.
        self.axis = TimeAxis(begin, last, ((call.started, call.started + call.seconds) for call in self.calls))
        self.memory = [(at, above) for at, above in self.memory if begin <= at <= last + 0.1]
        peak = max([1_000_000, *(above for _, above in self.memory)])
        limit = report.memory_limit
        self.limit = limit if limit is not None and limit <= SHOWN_LIMIT * peak else None
        self.largest = 1.06 * max(peak, self.limit or 0)

    def x(self, time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * self.axis.at(time)

    def y(self, nbytes: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * max(nbytes, 0) / self.largest

    def draw(self) -> str:
        parts = [*self.grid(), *self.bands(), *self.curve(), *self.limit_line(), *self.labels()]
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Resident memory over time">'
            f"{''.join(parts)}</svg>"
        )

    def grid(self) -> Iterator[str]:
        step = round_step(self.largest, 4)
        for i in range(int(self.largest // step) + 1):
            y = self.y(i * step)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{format_bytes(i * step) if i else 0}</text>'
        for seconds, place in self.axis.ticks(9):
            x = LEFT + (WIDTH - LEFT - RIGHT) * place
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{LANE[1] + 3}" y2="{LANE[1] + 7}"/>'
            yield f'<text class="tick mid" x="{x:.1f}" y="{LANE[1] + 20}">{format_time(seconds)}</text>'
        for piece in self.axis.pieces:
            if piece.is_cut:
                left, right = self.x(piece.begin), self.x(piece.end)
                title = f"<title>{format_time(piece.end - piece.begin)} without a call</title>"
                yield f'<rect class="cut" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{BOTTOM - TOP}">'
                yield f'{title}</rect><text class="tick mid" x="{(left + right) / 2:.1f}" y="{LANE[1]}">//</text>'

    def bands(self) -> Iterator[str]:
        """Mark each call behind the curve and in the strip below it; of those too short to be seen, one a place."""
        drawn = -1.0
        for call in self.calls:
            left, right = self.x(call.started), self.x(call.started + call.seconds)
            if right < drawn + 0.3:
                continue
            drawn, width = right, max(right - left, 0.8)
            kind = f"{CLASSES[call.how]}{' failed' if call.error else ''}"
            shape = f'x="{left:.1f}" width="{width:.1f}"'
            title = f"<title>{escape(_describe(call))}</title>"
            yield f'<rect class="band {kind}" {shape} y="{TOP}" height="{BOTTOM - TOP}">{title}</rect>'
            yield f'<rect class="lane {kind}" {shape} y="{LANE[0]}" height="{LANE[1] - LANE[0]}">{title}</rect>'

    def curve(self) -> Iterator[str]:
        points = [f"{self.x(at):.1f},{self.y(above):.1f}" for at, above in self.memory]
        if points:
            first, last = points[0].partition(",")[0], points[-1].partition(",")[0]
            yield f'<polygon class="area" points="{first},{BOTTOM} {" ".join(points)} {last},{BOTTOM}"/>'
            yield f'<polyline class="curve" points="{" ".join(points)}"/>'

    def limit_line(self) -> Iterator[str]:
        if self.limit is not None:
            y = self.y(self.limit)
            yield f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            text = f"memory limit {format_bytes(self.limit)}"
            yield f'<text class="limit end" x="{WIDTH - RIGHT - 4}" y="{y + 14:.1f}">{text}</text>'

    def labels(self) -> Iterator[str]:
        """Name the calls that took longest as far as there is room above the curve; short ones alike once."""
        named: set[str] = set()
        taken: list[list[tuple[float, float]]] = [[] for _ in range(LABEL_ROWS)]
        for call in sorted(self.calls, key=lambda call: -call.seconds):
            left, right = self.x(call.started), self.x(call.started + call.seconds)
            middle, half = (left + right) / 2, LETTER * len(call.function) / 2 + 4
            if right - left < 3:
                break
            if call.function in named and right - left < 2 * half:
                continue
            centre = min(max(middle, LEFT + half), WIDTH - RIGHT - half)
            for row, spans in enumerate(taken):
                if all(centre + half <= begin or end <= centre - half for begin, end in spans):
                    named.add(call.function)
                    spans.append((centre - half, centre + half))
                    y = TOP - 7 - 14 * row
                    yield f'<line class="leader" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y + 3}" y2="{TOP}"/>'
                    yield f'<text class="label mid" x="{centre:.1f}" y="{y}">{escape(call.function)}</text>'
                    break


def _describe(call: DispatchedCall) -> str:
    failed = f", failed: {call.error}" if call.error else ""
    return f"{call.function}: {call.how}, {format_seconds(call.seconds)} s, {format_bytes(call.peak_memory)}{failed}"
