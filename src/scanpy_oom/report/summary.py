"""The report: a table of calls with their sums, and memory over time."""

from __future__ import annotations

import os
import sys
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..dispatch.telemetry.log import Recorded, Tally, log
from ..settings import settings

if TYPE_CHECKING:
    import pandas as pd

    from ..dispatch.plugins.hookspecs import DispatchedCall

__all__ = ["Report"]

COLUMNS = (
    "function", "caller", "depth", "how", "reason", "error", "started", "seconds", "passes", "bytes_read",
    "peak_memory", "where",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The calls of a session, who ran them and why, and what they took.

    It is what :func:`scanpy_oom.report` returns. ``print`` shows a table, and notebooks show the page.

    Parameters
    ----------
    recorded
        What it tells about.
    memory_limit
        That of the settings if it was set, in bytes.
    versions
        Of what took part, by name.
    """

    recorded: Recorded
    memory_limit: int | None
    versions: dict[str, str]

    @classmethod
    def take(cls, *, clear: bool = False) -> Report:
        """Report what has been recorded so far, and perhaps have recording begin anew."""
        python = ".".join(map(str, sys.version_info[:3]))
        versions = {name: version(name) for name in ("scanpy-oom", "scanpy", "anndata")} | {"Python": python}
        limit = settings.memory_limit if settings.limits_memory else None  # by default it changes with what is free
        return cls(log.take(clear=clear), limit, versions)

    @property
    def calls(self) -> tuple[DispatchedCall, ...]:
        """The calls in the order in which they began; of a long session the last 10,000."""
        return self.recorded.calls

    @cached_property
    def tally(self) -> Tally:
        """Sums over all calls, those too that are not listed any more."""
        tally = deepcopy(self.recorded.earlier)
        for call in self.calls:
            tally.add(call)
        return tally

    @property
    def n_earlier(self) -> int:
        """Number of calls that are not listed any more."""
        return self.recorded.earlier.calls + self.recorded.earlier.nested

    @property
    def peak_memory(self) -> int:
        """Bytes by which the resident memory of the process rose above that at the beginning, at most."""
        return max((resident for _, resident in self.recorded.memory), default=0) - self.recorded.baseline

    @property
    def passes_outside(self) -> tuple[int, int]:
        """Passes, and bytes read by them, outside of the calls: by indexing, or by writing a file."""
        process, calls = self.recorded.passes, self.tally
        return max(process.passes - calls.passes, 0), max(process.bytes_read - calls.bytes_read, 0)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each call, in the order in which they began.

        Returns
        -------
        A frame with the columns

        ``function``
            Name of the function below ``scanpy``, as in ``"pp.log1p"``, or what else brought a matrix into memory, as
            in ``"X.toarray"`` or ``"conversion to an array"``.
        ``caller``, ``depth``
            The scanpy function that called it, and how many calls it is within; none and 0 where the user called it.
            What a call took contains what the calls within it took: sums are those over rows of depth 0.
        ``how``, ``reason``
            Who ran it (``"out of memory"``, ``"scanpy as it is"`` or ``"materialised"``), and why.
        ``error``
            Type of the error that it raised, none if it succeeded.
        ``started``, ``seconds``
            When it began (UTC), and how long it took.
        ``passes``, ``bytes_read``
            Passes over a matrix, and what they fetched from disk, as stored there.
        ``peak_memory``
            Bytes by which the resident memory of the process rose above that at the beginning of the call, at most.
        ``where``
            File and line of your code that brought matrices into memory; none for calls that did not.
        """
        import pandas as pd

        rows = [{name: getattr(call, name) for name in COLUMNS} for call in self.calls]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame["started"] = pd.to_datetime(frame["started"].astype(float), unit="s", utc=True)
        for name in ("function", "caller", "how", "reason", "error", "where"):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
        return frame.astype({"how": pd.CategoricalDtype(["out of memory", "scanpy as it is", "materialised"])})

    def to_html(self, path: str | os.PathLike[str], *, title: str = "scanpy-oom report") -> None:
        """Save the report as a page that needs nothing else: no scripts, no other files.

        Parameters
        ----------
        path
            File to write. An older one is replaced when the new one is complete.
        title
            Heading of the page.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        from .page import page

        target = Path(path).resolve()  # through a link, as writing into it would go
        temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            temporary.write_text(page(self, title), encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def __str__(self) -> str:
        from .text import table

        return table(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .page import fragment

        return fragment(self, "scanpy-oom report")
