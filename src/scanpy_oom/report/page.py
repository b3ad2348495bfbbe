"""The report as HTML: one page without scripts and other files, or the part of it that notebooks show."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from ..settings import format_bytes
from ..tables import Html, html_table
from .axes import format_time
from .plot import CLASSES, plot
from .style import PAGE, STYLE
from .text import NOTHING, WORKERS, count, described, format_seconds, worker_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .summary import Report

__all__ = ["fragment", "page"]

_NUMBER = 'class="number"'
_COLUMNS = {
    "": _NUMBER, "Function": "", "Run by": "", "Passes": _NUMBER, "Read": _NUMBER, "Seconds": _NUMBER,
    "Peak memory": _NUMBER, "Why": 'class="why"',
}  # fmt: skip
"""Columns of the table, and attributes of their cells."""


def page(report: Report, title: str) -> str:
    """Return the whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f"<style>{PAGE}</style>\n</head>\n<body>\n{fragment(report, title)}\n</body>\n</html>\n"
    )


def fragment(report: Report, title: str) -> str:
    """Return what stands in the page; the style sheet comes along and reaches no further."""
    return f'<div class="scanpy-oom-report">\n<style>{STYLE}</style>\n{"".join(_parts(report, title))}</div>'


def _parts(report: Report, title: str) -> Iterator[str]:
    yield f"<header><h1>{escape(title)}</h1>{_times(report)}</header>\n"
    if report.recorded.started is None:
        yield f'<p class="empty">{escape(NOTHING)}</p>\n'
    else:
        yield _figures(report)
        if report.calls:
            yield f"<section><h2>Memory over time</h2>{_legend(report)}\n"
            yield f'<div class="wide">{plot(report)}</div>{_caption(report)}</section>\n'
        yield f"<section><h2>Calls</h2>\n{_table(report)}{_notes(report)}</section>\n"
        yield _workers(report)
    versions = " · ".join(f"{escape(name)} {escape(version)}" for name, version in report.versions.items())
    yield f"<footer>{versions}</footer>\n"


def _workers(report: Report) -> str:
    """Return a table of what workers have done; nothing if there were none."""
    rows = [("", row) for row in worker_rows(report)]
    if not rows:
        return ""
    head = [name.capitalize() for name in WORKERS]
    table = html_table(rows, ["", *[_NUMBER] * (len(head) - 1)], head=head)
    return f"<section><h2>Workers</h2>\n{table}</section>\n"


def _times(report: Report) -> str:
    started, ended = report.recorded.started, report.recorded.ended
    if started is None:
        return ""
    begin = datetime.fromtimestamp(started, UTC).astimezone()
    return f"<p>Recorded from {begin:%Y-%m-%d %H:%M:%S %Z} on, for {format_time(ended - started)}</p>"


def _figures(report: Report) -> str:
    tally = report.tally
    by_how = tally.by_how
    others = f"{by_how['scanpy as it is']:,} scanpy as it is, {by_how['materialised']:,} materialised"
    calls = [f"and {tally.nested:,} nested"] if tally.nested else []
    calls += [f"{tally.failed:,} failed"] if tally.failed else []
    passes, nbytes = report.passes_outside
    outside = format_bytes(nbytes)
    seconds = escape(format_seconds(tally.seconds))
    figures = [
        ("Calls", f"{tally.calls:,}", ", ".join(calls) or f"in {seconds} s"),
        ("Out of memory", f"{by_how['out of memory']:,} <small>of {tally.calls:,}</small>", others),
        ("Passes", f"{tally.passes:,}", f"and {passes:,} outside of calls" if passes else "over a matrix on disk"),
        (
            "Read from disk",
            format_bytes(tally.bytes_read),
            f"and {outside} outside of them" if passes else "as stored",
        ),
        ("Peak memory", format_bytes(report.peak_memory), f"above {format_bytes(report.recorded.baseline)} at first"),
        ("Time in calls", f"{seconds} <small>s</small>", "of scanpy"),
    ]
    tiles = (f"<div><dt>{name}</dt><dd>{figure}</dd><dd>{more}</dd></div>" for name, figure, more in figures)
    return f'<dl class="figures">{"".join(tiles)}</dl>\n'


def _legend(report: Report) -> str:
    names = CLASSES | ({"failed": "failed"} if report.tally.failed else {})
    items = (f'<span><i class="{name}"></i>{how}</span>' for how, name in names.items())
    return f'<p class="legend">{"".join(items)}</p>'


def _caption(report: Report) -> str:
    text = (
        "Resident memory of the process (RSS, sampled) above that when recording began, from the first call to the end "
        "of the last one. What scanpy keeps as results is part of it."
    )
    if report.memory_limit is not None:
        text += f" Memory limit for one operation: {format_bytes(report.memory_limit)}."
    return f'<p class="note">{text}</p>'


def _table(report: Report) -> str:
    tally = report.tally
    total = ["", "Total", "", *_costs(tally.passes, tally.bytes_read, tally.seconds, report.peak_memory), ""]
    table = html_table(_rows(report), list(_COLUMNS.values()), head=list(_COLUMNS), foot=total)
    return f'<div class="wide">{table}</div>\n'


def _rows(report: Report) -> Iterator[tuple[str, list[str]]]:
    if report.n_earlier:
        of = report.recorded.earlier
        costs = _costs(of.passes, of.bytes_read, of.seconds, of.peak_memory)
        yield "", ["", count(report.n_earlier, "earlier call"), "", *costs, "no longer listed"]
    for number, call in enumerate(report.calls, start=report.n_earlier + 1):
        passes, read, seconds, peak = _costs(call.passes, call.bytes_read, call.seconds, call.peak_memory)
        indent = f' style="margin-left: {1.25 * call.depth:g}em"' if call.depth else ""
        failed = f'<strong class="error">failed: {escape(call.error)}</strong> ' if call.error else ""
        yield (
            f'class="{"nested" if call.depth else "called"}"',
            [
                f"{number}",
                Html(f"<code{indent}>{escape(call.function)}</code>"),
                Html(f'<span class="how {CLASSES[call.how]}">{call.how}</span>'),
                passes if call.passes else "–",
                read if call.bytes_read else "–",
                seconds,
                peak if call.peak_memory else "–",
                Html(failed + escape(described(call))),
            ],
        )


def _costs(passes: int, bytes_read: int, seconds: float, peak_memory: int) -> list[str]:
    return [f"{passes:,}", format_bytes(bytes_read), format_seconds(seconds), format_bytes(peak_memory)]


def _notes(report: Report) -> str:
    text = (
        "Peak memory of a call is what the resident memory rose by while it ran, at most; that of the total, above "
        "what there was when recording began."
    )
    if report.tally.nested:
        text += " Calls within others are indented; the total does not count them again."
    return f'<p class="note">{text}</p>'
