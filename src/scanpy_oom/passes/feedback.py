"""What the user is told while a pass runs."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numba.core import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numba.core.event import Event

__all__ = ["announce_compilation", "warn_user"]

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
