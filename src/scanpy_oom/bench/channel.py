"""Messages from a measured process to its watcher: a JSON text sequence (RFC 7464), a line an event."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

__all__ = ["MARK", "events", "report", "take_channel"]

MARK = "\x1e"
"""Begins an event."""


def take_channel() -> TextIO:
    """Return what was standard output, in whose place is standard error from now on, for compiled code, too."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def report(channel: TextIO, **what: object) -> None:
    """Send one event to the parent."""
    channel.write(f"{MARK}{json.dumps(what)}\n")
    channel.flush()


def events(lines: Iterable[str], log: TextIO) -> Iterator[dict[str, Any]]:
    """Yield the events among what a process writes, and put down what else it writes, as while Python starts.

    A line without an end is what a process was writing when it was killed.
    """
    for line in lines:
        other, mark, event = line.partition(MARK)
        log.write(other)
        if mark and event.endswith("\n"):
            yield json.loads(event)
        else:
            log.write(event)
