"""The card that a matrix or an AnnData shows of itself, as text and HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..settings import format_bytes
from ..tables import html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cache_registry import Copy
    from .oommatrix import OOMMatrix

__all__ = ["Card", "explained", "matrix_card", "matrix_text"]


_PRINTED = 50
"""Stored values that SciPy prints, at most."""

_NAMED = 20
"""Files that are named, at most, where a matrix lies in several."""


@dataclass(frozen=True, slots=True)
class Card:
    """Titled rows of a label and a text each."""

    title: str
    rows: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in text_table(self.rows, left=(0, 1)))])

    def html(self) -> str:
        """Return a table without scripts or outside resources."""
        cell = "text-align:left;padding:1px 12px 1px 0;vertical-align:top"
        columns = f'style="{cell};font-weight:600"', f'style="{cell}"'
        table = html_table((("", row) for row in self.rows), columns, attributes='style="margin:4px 0"')
        return f"<div><b>{html.escape(self.title)}</b>{table}</div>"


class _Printed:
    """A sparse matrix, as far as SciPy's ``__str__`` looks at it: its first and last stored values.

    Parameters
    ----------
    matrix
        The matrix.
    kind
        SciPy's class for it.
    """

    def __init__(self, matrix: OOMMatrix, kind: Any) -> None:
        self._matrix, self._kind = matrix, kind
        self.nnz = int(matrix.nnz)
        self.maxprint = int(getattr(matrix, "maxprint", _PRINTED))

    def __repr__(self) -> str:
        text: str = self._kind.__repr__(self._matrix)
        return text

    def _getmaxprint(self) -> int:
        return self.maxprint

    def tocoo(self) -> sparse.coo_matrix:
        n = self._matrix.shape[1 if self._matrix.format == "csc" else 0]
        if self.nnz <= self.maxprint:
            return self._part(0, n)
        first, last = (self._enough(n, from_end=from_end) for from_end in (False, True))
        places = [np.concatenate(both) for both in zip(first.coords, last.coords, strict=True)]
        return sparse.coo_matrix((np.concatenate([first.data, last.data]), places), shape=self._matrix.shape)

    def _enough(self, n: int, *, from_end: bool) -> sparse.coo_matrix:
        """Return the first or the last rows or columns, of `n`, that store as many values as are printed."""
        size = 1
        while True:
            some = (max(n - size, 0), n) if from_end else (0, min(size, n))
            part = self._part(*some)
            if part.nnz >= self.maxprint or size >= n:
                return part
            size *= 4

    def _part(self, start: int, stop: int) -> sparse.coo_matrix:
        """Return stored values of some rows, or of some columns where it is held by columns, at their places."""
        numbers, by_columns = np.arange(start, stop), self._matrix.format == "csc"
        values: Any = self._matrix.select(*((None, numbers) if by_columns else (numbers, None))).to_memory()
        part = values.tocoo()
        row, col = part.coords
        places = (row, col + start) if by_columns else (row + start, col)
        return sparse.coo_matrix((part.data, places), shape=self._matrix.shape)


def matrix_text(matrix: OOMMatrix) -> str:
    """Return the text that SciPy prints of a sparse matrix, for which its first and last values are read."""
    kind: Any = next(base for base in type(matrix).__mro__ if base.__module__.startswith("scipy.sparse"))
    text: str = kind.__str__(_Printed(matrix, kind))
    return text


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
        ("on disk", f"{format_bytes(source.nbytes)}, {layout}, {stored}"),
        ("density", f"{at_most}{source.nnz / cells:.2%} ({source.nnz:,} stored values)" if cells else "empty"),
        ("chain", chain),
        ("in memory", f"would take {format_bytes(matrix.nbytes_in_memory)}"),
        ("read so far", format_bytes(source.bytes_read)),
    ]
    if matrix.statistics.known:
        rows.append(("known", _known(matrix)))
    return Card(slot, tuple(rows))


def explained(matrix: OOMMatrix, slot: str) -> Card:
    """Return the card of one matrix, with what is cached and known of it, and where passes would read."""
    card = matrix_card(matrix, slot)
    rows = [row for row in card.rows if row[0] != "known"]
    cached = list(_cached(matrix))
    rows += [("cached", text) for text in cached] or [("cached", "nothing: passes read the file")]
    rows.append(("known", _known(matrix) or "nothing"))
    return Card(slot, tuple(rows))


def _named(locations: tuple[str, ...]) -> str:
    more = f" and {len(locations) - _NAMED} more" if len(locations) > _NAMED else ""
    return ", ".join(locations[:_NAMED]) + more


def _known(matrix: OOMMatrix) -> str:
    return ", ".join(sorted(matrix.statistics.known))


def _cached(matrix: OOMMatrix) -> Iterator[str]:
    """Describe each compact copy, nearest first."""
    for copy in matrix.copies:
        columns = "all columns" if copy.columns is None else f"{copy.columns.size:,} columns"
        yield f"{columns}, {format_bytes(copy.nbytes)} {_place(copy)}"
    by_columns = matrix.copies.find_by_columns(np.empty(0, dtype=np.intp))
    if by_columns is not None:
        yield f"by columns, {format_bytes(by_columns.nbytes)} {_place(by_columns)}"


def _place(copy: Copy) -> str:
    return "in RAM" if getattr(copy, "in_memory", False) else "in scratch"
