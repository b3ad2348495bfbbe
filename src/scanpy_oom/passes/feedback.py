"""What the user is told while a pass runs."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import scanpy as sc
from numba.core import event
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numba.core.event import Event

__all__ = ["announce_compilation", "progress", "warn_user"]

PATIENCE = 2.0
"""Seconds that a pass may take before its progress is shown."""

_BETWEEN = ("scanpy_oom", "scanpy", "anndata", "legacy_api_wrap")
"""Packages whose frames lie between a pass and the user's line."""


class _Announcer(event.Listener):
    """Says once that kernels are being compiled: the first run after an installation waits for it."""

    said = False

    def on_start(self, event: Event) -> None:
        function: Any = event.data["dispatcher"].py_func
        module = function.__module__ or ""  # what was made by `exec` has none
        if not _Announcer.said and module.startswith("scanpy_oom."):
            _Announcer.said = True
            if sys.stderr is None:  # as of a program without a console
                return
            sys.stderr.write("scanpy-oom: compiling kernels (once per installation, some seconds) ...\n")
            sys.stderr.flush()

    def on_end(self, event: Event) -> None:
        """Nothing is said at the end."""


@contextmanager
def announce_compilation() -> Iterator[None]:
    """Announce the first compilation of a kernel within the context."""
    with event.install_listener("numba:compile", _Announcer()):
        yield


def warn_user(message: str) -> None:
    """Warn of something that a pass has found, at the user's line, whichever call made the pass."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level - 1)


def progress(location: str, n_rows: int) -> tqdm[Any]:
    """Return the bar of a pass over `n_rows` rows, which shows itself if the pass takes long.

    None is shown if scanpy's verbosity is 0, or if nobody watches: where messages go neither to a terminal nor to a
    notebook.
    """
    watched = (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()
    return tqdm(
        total=n_rows,
        desc=f"reading {location}",
        unit=" cells",
        unit_scale=True,
        delay=PATIENCE,
        leave=False,
        dynamic_ncols=True,
        disable=int(sc.settings.verbosity) == 0 or not watched,
    )


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
