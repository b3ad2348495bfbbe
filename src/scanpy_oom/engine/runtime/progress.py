"""Progress bars and messages while a pass runs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from numba.core import event
from tqdm.auto import tqdm

from ...jit import is_kept
from ...messages import is_silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numba.core.event import Event

__all__ = ["announce_compilation", "progress"]

_NOT_KEPT = (
    "in every process, since there is no folder to keep it in: set NUMBA_CACHE_DIR to one that can be written to"
)

PATIENCE = 2.0
"""Seconds that a pass may take before its progress is shown."""


class _Announcer(event.Listener):
    """Says once a process that something is being compiled, which a pass then waits for.

    That is so whenever something is used for the first time: by an installation, on a kind of processor, for a type of
    values. So nothing is said of how often it will be.
    """

    said = False

    def on_start(self, event: Event) -> None:
        function = event.data["dispatcher"].py_func
        module = function.__module__ or ""  # what was made by `exec` has none
        if not _Announcer.said and module.startswith("scanpy_oom."):
            _Announcer.said = True
            if sys.stderr is None:  # as of a program without a console
                return
            kept = "kept for the next time" if is_kept else _NOT_KEPT
            sys.stderr.write(f"scanpy-oom: compiling what this step needs (some seconds; {kept}) ...\n")
            sys.stderr.flush()

    def on_end(self, event: Event) -> None:
        """Nothing is said at the end."""


@contextmanager
def announce_compilation() -> Iterator[None]:
    """Announce the first compilation of a kernel within the context."""
    with event.install_listener("numba:compile", _Announcer()):
        yield


def progress(location: str, n_rows: int) -> tqdm[object]:
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
        disable=is_silent() or not watched,
    )


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
