"""The report: calls of this session, who ran them and why, and their cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .summary import Report

__all__ = ["report"]


def report(*, clear: bool = False) -> Report:
    """Return what has been recorded of this session.

    Recording begins when the first file is opened with ``backed="oom"``. From then on every call of a public function
    of ``scanpy.pp``, ``tl``, ``get``, ``pl``, ``experimental.pp`` and ``metrics`` is recorded, those on data in memory
    too, when it has ended.

    Parameters
    ----------
    clear
        Whether to begin anew: the next report holds what is called from now on.

    Returns
    -------
    A :class:`~scanpy_oom.report.summary.Report`, to be printed, shown by a notebook, or saved as a page; it stays as it
    is when more is called.

    Examples
    --------
    >>> print(scanpy_oom.report())  # doctest: +SKIP
    >>> scanpy_oom.report().to_html("report.html")  # doctest: +SKIP
    """
    from .summary import Report

    return Report.take(clear=clear)
