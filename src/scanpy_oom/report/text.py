"""The report as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..dispatch.hookspecs import DispatchedCall
    from .summary import Report

__all__ = ["NOTHING", "count", "format_seconds", "headline", "table", "why"]

NOTHING = 'Nothing has been recorded: that begins when the first file is opened with backed="oom".'

_HEADER = ("", "function", "run by", "passes", "read", "seconds", "peak memory", "why")
_RIGHT = (True, False, False, True, True, True, True, False)
_INDENT = "  "


def format_seconds(seconds: float) -> str:
    """Write seconds with as many digits as say something."""
    if seconds < 0.0005:
        return "<0.001"
    return f"{seconds:.3f}" if seconds < 0.1 else f"{seconds:.2f}" if seconds < 100 else f"{seconds:,.0f}"


def why(call: DispatchedCall) -> str:
    """Say why it was run as it was, and how it failed if it did."""
    return call.reason if call.error is None else f"{call.reason}; failed: {call.error}"


def count(n: int, what: str, plural: str = "s") -> str:
    """Write a number of things."""
    return f"{n:,} {what}{'' if n == 1 else plural}"


def headline(report: Report) -> str:
    """Say in a sentence what there was."""
    tally = report.tally
    parts = [f"{tally.by_how[how]:,} {how}" for how in ("out of memory", "scanpy as it is", "materialised")]
    text = f"{count(tally.calls, 'call')}: {', '.join(parts)}"
    return text + (f"; {tally.failed:,} failed" if tally.failed else "")


def table(report: Report) -> str:
    """Lay out the calls in aligned columns, those within others indented, and their sums below."""
    if report.recorded.started is None:
        return NOTHING
    tally = report.tally
    rows = [_HEADER, *_rows(report)]
    total = (
        "", "total", "", f"{tally.passes:,}", format_bytes(tally.bytes_read), format_seconds(tally.seconds),
        format_bytes(report.peak_memory), "",
    )  # fmt: skip
    widths = [max(len(row[column]) for row in [*rows, total]) for column in range(len(_HEADER))]
    lines = [_line(row, widths) for row in rows]
    rule = "-" * min(max(map(len, lines)), sum(widths[:-1]) + 2 * (len(widths) - 1) + len("why"))
    lines = [lines[0], rule, *lines[1:], rule, _line(total, widths), *_notes(report)]
    return "\n".join([headline(report), "", *lines])


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    if report.n_earlier:
        earlier = report.recorded.earlier
        cost = format_bytes(earlier.bytes_read), format_seconds(earlier.seconds), format_bytes(earlier.peak_memory)
        yield "", _earlier(report), "", f"{earlier.passes:,}", *cost, "no longer listed"
    for number, call in enumerate(report.calls, start=report.n_earlier + 1):
        yield (
            f"{number}",
            _INDENT * call.depth + call.function,
            call.how,
            f"{call.passes:,}",
            format_bytes(call.bytes_read),
            format_seconds(call.seconds),
            format_bytes(call.peak_memory),
            why(call),
        )


def _earlier(report: Report) -> str:
    return count(report.n_earlier, "earlier call")


def _notes(report: Report) -> Iterator[str]:
    passes, bytes_read = report.passes_outside
    if passes:
        yield f"Outside of these calls: {count(passes, 'pass', 'es')}, {format_bytes(bytes_read)}."
    if report.tally.nested:
        yield "Calls within others are indented; the total does not count them again."
    yield "Peak memory: rise of the resident set, sampled; in the total, above that when recording began."


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    sides = zip(row, widths, _RIGHT, strict=True)
    cells = (text.rjust(width) if right else text.ljust(width) for text, width, right in sides)
    return "  ".join(cells).rstrip()
