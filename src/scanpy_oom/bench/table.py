"""Results as tables in Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..tables import markdown_table
from .backends import BACKENDS
from .figures.scaling import fit_exponents
from .totals import cost, done_steps, excuse, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .results import Agreement, Dataset, Results
    from .totals import Figure

__all__ = ["format_growth", "format_report", "format_steps", "format_totals"]


def format_report(results: Results) -> str:
    """Lay out everything: where it was measured, each data set, and how costs grow with cells."""
    parts = ["# Benchmark", _circumstances(results)]
    for dataset in results.datasets:
        parts += [f"## {dataset.name}", str(dataset), format_steps(results, dataset.name)]
        parts.append(format_totals(results, dataset))
    if growth := format_growth(results):
        parts += ["## Growth with cells", growth]
    return "\n\n".join(parts)


def format_steps(results: Results, dataset: str) -> str:
    """Lay out seconds and peak memory of each step by backend."""
    backends = results.backends(dataset)
    head = ["step", *(f"{BACKENDS[backend].label}: {unit}" for backend in backends for unit in ("s", "MB"))]
    rows = []
    for step in results.steps(dataset):
        row = [step]
        for backend in backends:
            runs = results.of(dataset, backend)
            seconds, peak = cost(runs, step, "seconds"), cost(runs, step, "peak")
            row += [_seconds(seconds), _megabytes(peak)] if seconds else [excuse(runs, step), "–"]
        rows.append(row)
    row = ["**together**"]
    for backend in backends:
        runs, done = results.of(dataset, backend), done_steps(results, dataset, backend)
        part = "" if len(done) == len(rows) else f" ({len(done)} of {len(rows)} steps)"
        row += [_seconds(total(runs, done, "seconds")) + part, _megabytes(total(runs, done, "peak"))]
    return markdown_table(head, [*rows, row]) + "\n"


def format_totals(results: Results, dataset: Dataset) -> str:
    """Lay out what the runs took as a whole, how far they agree, and what is to be known of them."""
    parts = [_totals(results, dataset), *_agreement(results, dataset), *_remarks(results, dataset)]
    return "\n\n".join(parts) + "\n"


def _totals(results: Results, dataset: Dataset) -> str:
    """Lay out what the steps that a backend has done took together, and that against scanpy-oom in the same steps."""
    ours = results.of(dataset.name, "oom")
    head = ["backend", "steps", "s", "CPU s", "peak, MB", "held, MB", "read, MB", "written, MB", "time ratio"]
    head += ["memory ratio"]
    rows = []
    for backend in results.backends(dataset.name):
        runs, done = results.of(dataset.name, backend), done_steps(results, dataset.name, backend)
        common = done_steps(results, dataset.name, backend, "oom")
        figures = {what: total(runs, done, what) for what in ("seconds", "cpu_seconds", "peak", "bytes_read")}
        written = next((run.written for run in runs if run.written is not None), None)
        rows.append([
            BACKENDS[backend].label,
            f"{len(done)} of {len(results.steps(dataset.name))}",
            _seconds(figures["seconds"]),
            _seconds(figures["cpu_seconds"]),
            _megabytes(figures["peak"]),
            _megabytes(cost(runs, done[-1], "held") if done else None),
            _megabytes(figures["bytes_read"]),
            "–" if written is None else f"{written / 1e6:,.0f}",
            _times(total(runs, common, "seconds"), total(ours, common, "seconds")),
            _times(total(runs, common, "peak"), total(ours, common, "peak")),
        ])  # fmt: skip
    return markdown_table(head, rows)


def _agreement(results: Results, dataset: Dataset) -> Iterator[str]:
    found = [record for record in results.agreement if record.dataset == dataset.name]
    if found:
        yield f"Agreement with {BACKENDS[found[0].reference].label}:"
        head = [
            "backend",
            "cells",
            "variable genes",
            "components: least \\|r\\|",
            "components: subspace",
            "clusters: ARI",
            "neighbours: recall",
            "layout: trustworthiness",
            "layout: neighbours kept",
        ]
        yield markdown_table(head, (_agreement_row(record) for record in found))


def _agreement_row(record: Agreement) -> list[str]:
    numbers = (record.components, record.subspace, record.clusters)
    shares = (record.recall, record.trustworthiness, record.preservation)
    return [
        BACKENDS[record.backend].label,
        f"{record.cells:.2%}",
        "–" if record.genes is None else f"{record.genes:.2%}",
        *("–" if number is None else f"{number:.6f}" for number in numbers),
        *("–" if number is None else f"{number:.4f}" for number in shares),
    ]


def _remarks(results: Results, dataset: Dataset) -> Iterator[str]:
    said = []
    for backend in results.backends(dataset.name):
        for run in results.of(dataset.name, backend):
            label = BACKENDS[backend].label
            said += [f"- {_one_line(line)}" for line in run.told(label)] + [f"- {label}: {note}" for note in run.notes]
    if said:
        yield "\n".join(dict.fromkeys(said))


def format_growth(results: Results) -> str:
    """Lay out the fitted exponents; nothing without several sizes."""
    rows = [
        [BACKENDS[fit.backend].label, f"{fit.sizes[0]:,} – {fit.sizes[-1]:,}", f"{fit.memory:.2f}", f"{fit.time:.2f}"]
        for fit in fit_exponents(results)
    ]
    if not rows:
        return ""
    table = markdown_table(["backend", "cells", "memory", "time"], rows)
    said = "Exponents *b* of least-squares fits of cost = *a* · cells^*b* over the sizes that were completed."
    return f"{said}\n\n{table}\n"


def _circumstances(results: Results) -> str:
    machine, versions = results.machine, results.versions
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory'] / 2**30:.0f} GiB of memory, "
        f"{machine['system']}; load at the beginning {machine['load_average'][0]}. "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ".\n\nMedians of the runs. Memory is the resident set above that after the imports: its peak, and what was "
        "held at the end of the last step. Ratios are to scanpy-oom, over the steps that both have done."
    )


def _seconds(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.median:.2f}" if figure.median < 10 else f"{figure.median:,.1f}"


def _megabytes(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.median / 1e6:,.0f}"


def _times(figure: Figure | None, ours: Figure | None) -> str:
    if figure is None or ours is None or not ours.median:
        return "–"
    return f"{figure.median / ours.median:.1f}"


def _one_line(reason: str) -> str:
    text = " ".join(re.sub(r"\S*[/\\]site-packages[/\\]", "", reason[:2000]).split())  # paths of one machine
    return text if len(text) <= 200 else f"{text[:200]} ..."
