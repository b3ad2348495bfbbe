"""One run of one backend in a fresh process, step by step.

Run as ``python -m scanpy_oom.bench.worker``, with the order as JSON. Writes events to standard output
(`channel.py`); what others print goes to standard error. A step that raises an error is reported as failed, and
those that need it are left out.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import matplotlib.pyplot as plt
import psutil
from numba import get_num_threads
from numba.core import event

from ..memory.peak import PeakMemory
from ..memory.rss import resident_memory
from .backends import BACKENDS
from .channel import report, take_channel
from .recipe import Recipe, waiting_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backends.memory import Workflow


def main() -> None:
    """Do what the first argument orders."""
    order = json.loads(sys.argv[1])
    plt.switch_backend("agg")
    channel = take_channel()
    workflow = BACKENDS[order["backend"]].load()(
        Path(order["file"]), Path(order["out"]), Recipe(**order["recipe"]), order["groups"]
    )
    ask_for_no_more_threads_than_there_are()
    report(channel, event="begin", imports=resident_memory())
    with event.install_listener("numba:compile", CompileClock()) as clock:
        not_done = take_steps(workflow, order["steps"], channel)
        if "read" not in not_done:
            workflow.save(order["save"])
    report(channel, event="end", notes=workflow.notes(), compile_seconds=clock.seconds)


def ask_for_no_more_threads_than_there_are() -> None:
    """Lower scanpy's number of jobs: version 1.13 asks any machine for 4, and pynndescent fails where there are 2."""
    scanpy = sys.modules.get("scanpy")
    if scanpy is not None:
        scanpy.settings.n_jobs = min(scanpy.settings.n_jobs, get_num_threads())


class CompileClock(event.Listener):
    """Seconds in which numba compiled kernels of this package (and did not find them in its cache on disk)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0  # a kernel that calls another compiles it within its own compilation

    def on_start(self, event: event.Event) -> None:
        if self._is_ours(event):
            if self._depth == 0:
                self._start = time.perf_counter()
            self._depth += 1

    def on_end(self, event: event.Event) -> None:
        if self._is_ours(event):
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.perf_counter() - self._start

    @staticmethod
    def _is_ours(event: event.Event) -> bool:
        module = event.data["dispatcher"].py_func.__module__  # None for a function made by exec
        return module is not None and module.startswith("scanpy_oom.")


def take_steps(workflow: Workflow, steps: list[str], channel: TextIO) -> list[str]:
    """Take the steps, each measured; return those that were not done."""
    not_done: list[str] = []
    for step in steps:
        need, reason = waiting_for(step, steps, not_done), workflow.left_out.get(step)
        if need is not None or reason is not None:
            report(channel, event="skipped", step=step, reason=reason or f"it needs the step {need}")
            not_done.append(step)
            continue
        report(channel, event="start", step=step)
        if (reason := take(workflow.step(step), step, channel)) is not None:
            report(channel, event="failed", step=step, reason=reason, at=time.monotonic())
            not_done.append(step)
    return not_done


def take(function: Callable[[], None], step: str, channel: TextIO) -> str | None:
    """Take one step and report what it took; return the error if there is one."""
    process = psutil.Process()
    try:
        with PeakMemory() as memory:
            cpu, read, begin = cpu_seconds(process), bytes_read(process), time.monotonic()
            function()
            end = time.monotonic()
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is a row of the table
        traceback.print_exc()
        return "".join(traceback.format_exception_only(error)).strip()
    gc.collect()
    report(
        channel,
        event="done",
        held=resident_memory(process),
        step=step,
        begin=begin,
        end=end,
        cpu_seconds=cpu_seconds(process) - cpu,
        bytes_read=None if read is None else (bytes_read(process) or 0) - read,
        mark=memory.most if memory.is_exact else None,
    )
    return None


def cpu_seconds(process: psutil.Process) -> float:
    """Seconds that processors have worked for this process and for its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def bytes_read(process: psutil.Process) -> int | None:
    """Bytes that this process has asked of the system so far; None where they are not counted."""
    if not hasattr(process, "io_counters"):  # macOS
        return None
    return getattr(process.io_counters(), "read_chars", None)


if __name__ == "__main__":
    main()
