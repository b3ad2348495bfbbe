"""The card that a matrix or an AnnData shows of itself, as text and HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .copies import Copy
    from .oommatrix import OOMMatrix

__all__ = ["Card", "explained", "matrix_card"]


_NAMED = 20
"""Files that are named, at most, where a matrix lies in several."""


@dataclass(frozen=True, slots=True)
class Card:
    """Titled rows of a label and a text each."""

    title: str
    rows: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max((len(label) for label, _ in self.rows), default=0)
        return "\n".join([self.title, *(f"  {label:{width}}  {text}" for label, text in self.rows)])

    def html(self) -> str:
        """Return a table without scripts or outside resources."""
        cell = "text-align:left;padding:1px 12px 1px 0;vertical-align:top"
        rows = "".join(
            f'<tr><th style="{cell};font-weight:600">{html.escape(label)}</th>'
            f'<td style="{cell}">{html.escape(text)}</td></tr>'
            for label, text in self.rows
        )
        return f'<div><b>{html.escape(self.title)}</b><table style="margin:4px 0">{rows}</table></div>'


def matrix_card(matrix: OOMMatrix, slot: str = "OOMMatrix") -> Card:
    """Return the card of one matrix: file, format, density, chain, bytes read so far."""
    source = matrix.source
    cells = source.shape[0] * source.shape[1]
    layout = source.format if source.compression == "none" else f"{source.format}, {source.compression}"
    stored = f"{source.shape[0]:,} × {source.shape[1]:,} {source.dtype}"
    chain = " → ".join(["as stored", *(str(t) for t in matrix.chain.transforms)])
    at_most = "" if source.nnz_is_exact else "at most "
    rows = [
        ("shape", f"{matrix.shape[0]:,} × {matrix.shape[1]:,} {matrix.dtype}"),
        ("source", _named(source.locations)),
        (
            "on disk",
            f"{format_bytes(source.nbytes)}, {layout}, {stored}",
        ),
        ("density", f"{at_most}{source.nnz / cells:.2%} ({source.nnz:,} stored values)" if cells else "empty"),
        ("chain", chain),
        ("in memory", f"would take {format_bytes(matrix.nbytes_in_memory)}"),
        ("read so far", format_bytes(source.bytes_read)),
    ]
    if matrix.statistics.known:
        rows.append(("known", _known(matrix)))
    return Card(slot, tuple(rows))


def explained(matrix: OOMMatrix, slot: str) -> Card:
    """Return the card of one matrix, with what is staged and known of it, and where passes would read."""
    card = matrix_card(matrix, slot)
    rows = [row for row in card.rows if row[0] != "known"]
    staged = list(_staged(matrix))
    rows += [("staged", text) for text in staged] or [("staged", "nothing: passes read the file")]
    rows.append(("known", _known(matrix) or "nothing"))
    return Card(slot, tuple(rows))


def _named(locations: tuple[str, ...]) -> str:
    more = f" and {len(locations) - _NAMED} more" if len(locations) > _NAMED else ""
    return ", ".join(locations[:_NAMED]) + more


def _known(matrix: OOMMatrix) -> str:
    return ", ".join(sorted(matrix.statistics.known))


def _staged(matrix: OOMMatrix) -> Iterator[str]:
    """Describe each compact copy, nearest first."""
    for copy in matrix.copies:
        columns = "all columns" if copy.columns is None else f"{copy.columns.size:,} columns"
        yield f"{columns}, {format_bytes(copy.nbytes)} {_place(copy)}"


def _place(copy: Copy) -> str:
    return "in RAM" if getattr(copy, "in_memory", False) else "in scratch"
