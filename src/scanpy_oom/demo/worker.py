"""One run of the workflow in a fresh process, measured step by step.

Run as ``python -m scanpy_oom.demo.worker FILE OUT --backed oom --steps read,qc,...``. Writes one JSON object per line
to standard output; what scanpy prints goes to standard error. An error ends the process with its traceback.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

import matplotlib.pyplot as plt
import psutil
from numba.core import event

from .channel import report, take_channel
from .steps import STEPS, Workflow

if TYPE_CHECKING:
    from types import TracebackType

INTERVAL = 0.005  # seconds between two looks at the memory


class Measurement:
    """Seconds and peak resident memory of what runs within the context."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        gc.collect()
        self.peak = self.memory()
        self._thread.start()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self.memory())

    def memory(self) -> int:
        """Bytes of this process that are in memory now."""
        return self._process.memory_info().rss

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.peak = max(self.peak, self.memory())


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


def main() -> None:
    """Run the workflow as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m scanpy_oom.demo.worker")
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backed")
    parser.add_argument("--steps", required=True)
    parser.add_argument("--groups")
    args = parser.parse_args()

    plt.switch_backend("agg")
    channel = take_channel()
    workflow = Workflow(args.file, args.backed, args.out, groups=args.groups)
    try:
        take_steps(workflow, args.steps.split(","), channel)
    except Exception as error:
        report(channel, event="failed", reason="".join(traceback.format_exception_only(error)).strip())
        raise


def take_steps(workflow: Workflow, steps: list[str], channel: TextIO) -> None:
    """Take the steps, each measured, and save the results."""
    base, clock = psutil.Process().memory_info().rss, CompileClock()
    with event.install_listener("numba:compile", clock):
        for step in steps:
            report(channel, event="start", step=step)
            with Measurement() as measured:
                STEPS[step](workflow)
            report(channel, event="done", step=step, seconds=measured.seconds, peak=max(0, measured.peak - base))
        report(channel, event="start", step="save")
        workflow.save()
    report(channel, event="end", compile_seconds=clock.seconds, shape=workflow.adata.shape)


if __name__ == "__main__":
    main()
