"""A plugin for a hook that there is not."""

from __future__ import annotations

from scanpy_oom import hookimpl


@hookimpl
def scanpy_oom_no_such_hook() -> None:
    """Answer nothing."""
