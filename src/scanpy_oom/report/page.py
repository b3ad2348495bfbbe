"""The report as HTML: one page without scripts and other files, or the part of it that notebooks show."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from ..settings import format_bytes
from .axes import format_time
from .plot import CLASSES, plot
from .style import PAGE, STYLE
from .text import NOTHING, count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..dispatch.hookspecs import DispatchedCall
    from .summary import Report

__all__ = ["fragment", "page"]

_COLUMNS = {
    "": "number", "Function": "", "Run by": "", "Passes": "number", "Read": "number", "Seconds": "number",
    "Peak memory": "number", "Why": "",
}  # fmt: skip


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
    versions = " · ".join(f"{escape(name)} {escape(version)}" for name, version in report.versions.items())
    yield f"<footer>{versions}</footer>\n"


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
    head = "".join(f'<th class="{kind}" scope="col">{name}</th>' for name, kind in _COLUMNS.items())
    tally = report.tally
    total = [
        f"{tally.passes:,}", format_bytes(tally.bytes_read), format_seconds(tally.seconds),
        format_bytes(report.peak_memory),
    ]  # fmt: skip
    foot = f'<td></td><th scope="row">Total</th><td></td>{_numbers(total)}<td></td>'
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(_rows(report))}</tbody>\n'
        f"<tfoot><tr>{foot}</tr></tfoot>\n</table></div>\n"
    )


def _rows(report: Report) -> Iterator[str]:
    if report.n_earlier:
        earlier = report.recorded.earlier
        costs = [
            f"{earlier.passes:,}", format_bytes(earlier.bytes_read), format_seconds(earlier.seconds),
            format_bytes(earlier.peak_memory),
        ]  # fmt: skip
        what = count(report.n_earlier, "earlier call")
        yield f'<tr><td></td><td>{what}</td><td></td>{_numbers(costs)}<td class="why">no longer listed</td></tr>\n'
    for number, call in enumerate(report.calls, start=report.n_earlier + 1):
        yield _row(number, call)


def _row(number: int, call: DispatchedCall) -> str:
    costs = [
        f"{call.passes:,}" if call.passes else "–",
        format_bytes(call.bytes_read) if call.bytes_read else "–",
        format_seconds(call.seconds),
        format_bytes(call.peak_memory) if call.peak_memory else "–",
    ]
    failed = f'<strong class="error">failed: {escape(call.error)}</strong> ' if call.error else ""
    kind = "nested" if call.depth else "called"
    indent = f"padding-left: {0.75 + 1.25 * call.depth:g}em"
    return (
        f'<tr class="{kind}"><td class="number">{number}</td>'
        f'<td class="function" style="{indent}"><code>{escape(call.function)}</code></td>'
        f'<td><span class="how {CLASSES[call.how]}">{call.how}</span></td>{_numbers(costs)}'
        f'<td class="why">{failed}{escape(call.reason)}</td></tr>\n'
    )


def _numbers(texts: list[str]) -> str:
    return "".join(f'<td class="number">{escape(text)}</td>' for text in texts)


def _notes(report: Report) -> str:
    text = (
        "Peak memory of a call is what the resident memory rose by while it ran, at most; that of the total, above "
        "what there was when recording began."
    )
    if report.tally.nested:
        text += " Calls within others are indented; the total does not count them again."
    return f'<p class="note">{text}</p>'
