"""The cost of a scanpy call, as numbers, text and HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from ...settings import format_bytes
from ...tables import html_table, text_table
from ..budget import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..abc import Distribution

__all__ = ["Explanation", "PlannedPass"]

_HEADER = ("pass", "computes", "of", "reads", "from the file", "entries", "blocks", "threads", "peak", "leaves")
_LEFT = (0, 1, 2, 3, 9)


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """One pass that a call would make.

    Parameters
    ----------
    computes
        What is computed, in words.
    reductions
        The same by the names that passes are recorded with.
    matrix
        Which matrix of the AnnData it reads, as users write it.
    shape
        Rows and columns that it looks at.
    reads
        Where stored values come from.
    n_bytes
        Bytes that are fetched from the file, as stored there.
    n_entries
        Stored entries that are visited.
    n_blocks, n_threads
        Blocks of rows, and threads that work on them.
    peak
        Bytes of memory that blocks, partial results and what is held beside them take, at most.
    leaves
        The compact copy that it leaves for later passes; empty for none.
    bytes_certain, entries_certain, blocks_certain
        Whether these numbers are certain; else they are estimates.
    repeats
        Whether it comes once an iteration, so that there may be more of it.
    distribution
        How the engine of the settings would make it on other machines; None for an engine in this process.
    """

    computes: str
    reductions: tuple[str, ...]
    matrix: str
    shape: tuple[int, int]
    reads: str
    n_bytes: int
    n_entries: int
    n_blocks: int
    n_threads: int
    peak: int
    leaves: str = ""
    bytes_certain: bool = True
    entries_certain: bool = True
    blocks_certain: bool = True
    repeats: bool = False
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """The passes of a scanpy call, who would run it and why, before it runs.

    Parameters
    ----------
    function
        The function, as users call it.
    how
        Who would run it, in the words of the report. `"refused"`: nobody, since it does not fit the memory limit.
    reason
        Why, as a clause.
    passes
        The passes that it would make, in order; None if that cannot be told.
    results
        Bytes of what it leaves with the user. They are no part of the peak.
    """

    function: str
    how: Literal["out of memory", "materialised", "scanpy as it is", "refused"]
    reason: str
    passes: tuple[PlannedPass, ...] | None = ()
    results: int = 0

    @property
    def n_passes(self) -> int | None:
        """Number of passes; the least one where one of them repeats."""
        return None if self.passes is None else len(self.passes)

    @property
    def repeats(self) -> bool:
        """True if there may be more passes than are listed."""
        return any(planned.repeats for planned in self.passes or ())

    @property
    def n_bytes(self) -> int:
        """Bytes fetched from the file, by all passes."""
        return sum(planned.n_bytes for planned in self.passes or ())

    @property
    def bytes_certain(self) -> bool:
        """True if that number is certain."""
        return self.passes is not None and not self.repeats and all(planned.bytes_certain for planned in self.passes)

    @property
    def n_entries(self) -> int:
        """Stored entries that are visited, by all passes."""
        return sum(planned.n_entries for planned in self.passes or ())

    @property
    def peak(self) -> int:
        """Bytes of memory that passes take at most, libraries and results aside."""
        return max((planned.peak for planned in self.passes or ()), default=0)

    def __str__(self) -> str:
        table = text_table([_HEADER, *self._rows()], _LEFT) if self.passes else []
        return "\n".join([self._head(), *(f"  {line}" for line in (*table, *self._totals()))])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        cell = "padding:1px 12px 1px 0;vertical-align:top;text-align:"
        columns = [f'style="{cell}{"left" if i in _LEFT else "right"}"' for i in range(len(_HEADER))]
        rows = (("", row) for row in self._rows())
        table = html_table(rows, columns, head=_HEADER, attributes='style="margin:4px 0"') if self.passes else ""
        totals = "<br>".join(html.escape(line) for line in self._totals())
        return f"<div><b>{html.escape(self._head())}</b>{table}<div>{totals}</div></div>"

    def _head(self) -> str:
        if self.how == "refused":
            return f"{self.function}: would be refused: {self.reason}"
        how = {"out of memory": "works from disk", "materialised": "runs in memory"}.get(self.how, self.how)
        return f"{self.function}: {how}" + (f"; {self.reason}" if self.reason else "")

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a line a pass; passes that differ in nothing but their rows share one."""
        number = 1
        for _, alike in groupby(self.passes or (), key=lambda p: (p.computes, p.matrix, p.reads, p.leaves, p.repeats)):
            some = tuple(alike)
            last = number + len(some) - 1
            yield _row(some, f"{number}" if len(some) == 1 else f"{number}-{last}")
            number = last + 1

    def _totals(self) -> Iterator[str]:
        if self.passes is None:
            yield "its passes are not known beforehand"
        elif self.how in {"out of memory", "materialised"}:
            least = "at least " if self.repeats else ""
            count = f"{len(self.passes)} pass" + ("" if len(self.passes) == 1 else "es")
            yield f"in total: {least}{count}" + (", " + self._cost(least) if self.passes else ": nothing is read")
        if self.passes:
            yield f"peak: {format_bytes(self.peak)}, and {format_bytes(LIBRARIES)} for libraries once they are loaded"
        yield from self._distributed()
        if self.results:
            yield f"results that stay: about {format_bytes(self.results)}"

    def _distributed(self) -> Iterator[str]:
        """Say which passes other machines make, and why others are made here."""
        found = [planned.distribution for planned in self.passes or () if planned.distribution is not None]
        there = [one for one in found if one.engine]
        if there:
            n, moved = sum(one.n_tasks for one in there), sum(one.moved for one in there)
            passes = f"{len(there)} pass" + ("" if len(there) == 1 else "es")
            yield f"{passes} on {there[0].engine}: {n:,} tasks, about {format_bytes(moved)} sent between processes"
        for reason in dict.fromkeys(one.why_here for one in found if one.why_here):
            yield f"in this process, for {reason}: {sum(one.why_here == reason for one in found)}"

    def _cost(self, least: str) -> str:
        fetched = (least if self.n_bytes else "") + _amount(self.n_bytes, certain=self.bytes_certain or bool(least))
        certain = all(planned.entries_certain for planned in self.passes or ()) or bool(least)
        return f"{fetched} from the file, {'' if certain else 'about '}{self.n_entries:,} entries visited"


def _row(some: Sequence[PlannedPass], number: str) -> tuple[str, ...]:
    first = some[0]
    entries = sum(planned.n_entries for planned in some)
    blocks = sum(planned.n_blocks for planned in some)
    return (
        number + ("+, one an iteration" if first.repeats else ""),
        first.computes,
        f"{first.matrix}, {first.shape[0]:,} × {first.shape[1]:,}" + ("" if len(some) == 1 else " each"),
        first.reads,
        _amount(sum(planned.n_bytes for planned in some), certain=all(planned.bytes_certain for planned in some)),
        ("" if first.entries_certain else "about ") + f"{entries:,}",
        ("" if first.blocks_certain else "about ") + f"{blocks:,}",
        f"{first.n_threads}",
        format_bytes(max(planned.peak for planned in some)),
        first.leaves or "nothing",
    )


def _amount(n_bytes: int, *, certain: bool) -> str:
    return ("" if certain else "about ") + (format_bytes(n_bytes) if n_bytes else "nothing")
