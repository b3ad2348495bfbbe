"""The report as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings import format_bytes
from ..tables import text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..dispatch.plugins.hookspecs import DispatchedCall
    from .summary import Report

__all__ = ["NOTHING", "WORKERS", "count", "described", "format_seconds", "headline", "table", "why", "worker_rows"]

NOTHING = 'Nothing has been recorded: that begins when the first file is opened with backed="oom".'

_HEADER = ("", "function", "run by", "passes", "read", "seconds", "peak memory", "why")
_LEFT = (1, 2, 7)
_INDENT = "  "

WORKERS = ("worker", "rows", "read", "seconds", "resident memory")
"""Heads of the table of workers. Rows are counted once a pass; memory is the most that was seen."""


def format_seconds(seconds: float) -> str:
    """Write seconds with as many digits as say something."""
    if seconds < 0.0005:
        return "<0.001"
    return f"{seconds:.3f}" if seconds < 0.1 else f"{seconds:.2f}" if seconds < 100 else f"{seconds:,.0f}"


def why(call: DispatchedCall) -> str:
    """Say why it was run as it was, and how it failed if it did."""
    reason = described(call)
    return reason if call.error is None else f"{reason}; failed: {call.error}"


def described(call: DispatchedCall) -> str:
    """Say why it was run as it was, and which line brought matrices into memory if it did."""
    return call.reason if call.where is None else f"{call.reason}; {call.where}"


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
    total = (
        "", "total", "", f"{tally.passes:,}", format_bytes(tally.bytes_read), format_seconds(tally.seconds),
        format_bytes(report.peak_memory), "",
    )  # fmt: skip
    head, *rows, last = text_table([_HEADER, *_rows(report), total], _LEFT)
    rule = "-" * len(head)  # reasons may be long
    return "\n".join([headline(report), "", head, rule, *rows, rule, last, *_notes(report)])


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


def worker_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield what each worker of another engine has done."""
    for share in report.recorded.passes.workers:
        yield (
            share.worker,
            f"{share.n_rows:,}",
            format_bytes(share.bytes_read),
            format_seconds(share.seconds),
            format_bytes(share.resident),
        )


def workers(report: Report) -> Iterator[str]:
    """Lay out what workers have done; nothing if there were none."""
    rows = list(worker_rows(report))
    if rows:
        yield from ("", *text_table([WORKERS, *rows], left=(0,)), "")


def _notes(report: Report) -> Iterator[str]:
    passes, bytes_read = report.passes_outside
    if passes:
        yield f"Outside of these calls: {count(passes, 'pass', 'es')}, {format_bytes(bytes_read)}."
    if report.tally.nested:
        yield "Calls within others are indented; the total does not count them again."
    yield from workers(report)
    yield "Peak memory: rise of the resident set, sampled; in the total, above that when recording began."
