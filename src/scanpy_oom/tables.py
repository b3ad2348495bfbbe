"""Tables as text in aligned columns, as Markdown and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["Html", "html_table", "markdown_table", "text_table"]


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text_table(rows: Iterable[Sequence[str]], left: Collection[int]) -> list[str]:
    """Lay out rows in aligned columns.

    Parameters
    ----------
    rows
        Their cells.
    left
        Numbers of the columns that are aligned to the left; the others are numbers, and aligned to the right.

    Returns
    -------
    A line for each row.
    """
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        texts = (text.ljust(width) if i in left else text.rjust(width) for i, (text, width) in enumerate(cells))
        lines.append("  ".join(texts).rstrip())
    return lines


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def html_table(
    rows: Iterable[tuple[str, Sequence[str]]],
    columns: Sequence[str],
    *,
    head: Sequence[str] = (),
    foot: Sequence[str] = (),
    attributes: str = "",
) -> str:
    """Lay out rows in HTML.

    Parameters
    ----------
    rows
        Attributes of each row, and its cells: text, which is escaped, or :class:`Html`.
    columns
        Attributes of the cells of each column.
    head, foot
        Cells of the first row and of the last one; without them, there are none.
    attributes
        Those of the table.
    """

    def line(cells: Sequence[str], name: str = "td", attributes: str = "") -> str:
        texts = (cell if isinstance(cell, Html) else escape(cell) for cell in cells)
        inner = (f"{_tag(name, of)}{text}</{name}>" for text, of in zip(texts, columns, strict=True))
        return f"{_tag('tr', attributes)}{''.join(inner)}</tr>\n"

    parts = [f"<thead>{line(head, 'th')}</thead>\n" if head else ""]
    parts += ["<tbody>\n", *(line(cells, attributes=of) for of, cells in rows), "</tbody>\n"]
    parts.append(f"<tfoot>{line(foot)}</tfoot>\n" if foot else "")
    return f"{_tag('table', attributes)}\n{''.join(parts)}</table>"


def _tag(name: str, attributes: str) -> str:
    return f"<{name} {attributes}>" if attributes else f"<{name}>"
