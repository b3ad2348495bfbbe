"""Runs one backend in a process of its own, and takes down what it reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..settings import parse_bytes
from .backends import BACKENDS
from .channel import events
from .results import Run, StepResult
from .watch import Limits, Watch, thin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .display import Display
    from .recipe import Recipe

__all__ = ["Order", "Suffix", "measure"]

Suffix: TypeAlias = Literal[".npz", ".h5ad", ""]
"""Files of results: what all backends have in common, or all but the matrix; or none."""

_UNFINISHED = "it did not end"

_THREADS = (
    "SCANPY_OOM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "DASK_NUM_WORKERS",
    "CYTEARC_WORKERS",
)
"""Variables that set the threads of the backends, and of the libraries under them."""


@dataclass(frozen=True)
class Order:
    """The task of a measured process.

    Attributes
    ----------
    dataset, backend
        Names.
    file
        The counts.
    out
        Folder for what it leaves.
    steps, recipe, groups
        What is done.
    repeat
        Number of the run.
    limits
        When it is stopped.
    memory_limit, threads
        Settings of scanpy-oom, and of CyteArc, which has a budget, too; `None` for their own. The number of threads
        holds for all.
    save
        In which kind of file the results are kept, for comparison.
    """

    dataset: str
    backend: str
    file: Path
    out: Path
    steps: Sequence[str]
    recipe: Recipe
    groups: str
    repeat: int = 0
    limits: Limits = field(default_factory=Limits)
    memory_limit: str | None = None
    threads: int | None = None
    save: Suffix = ".npz"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the process. Only in the run of scanpy-oom is scanpy-oom active."""
        environment = {name: value for name, value in os.environ.items() if name != "SCANPY_OOM_DISABLE"}
        if not BACKENDS[self.backend].is_active:
            environment["SCANPY_OOM_DISABLE"] = "1"
        environment |= BACKENDS[self.backend].environment
        if self.memory_limit is not None:
            environment["SCANPY_OOM_MEMORY_LIMIT"] = self.memory_limit
            environment["CYTEARC_MEM_BUDGET"] = str(parse_bytes(self.memory_limit))
        if self.threads is not None:
            environment |= dict.fromkeys(_THREADS, str(self.threads))
        return environment


def measure(order: Order, display: Display | None = None) -> Run:
    """Run a backend, and return what it took. Whatever becomes of it is a record, not an error."""
    run = Run(order.dataset, order.backend, order.repeat)
    backend = BACKENDS[order.backend]
    for left in ("result.npz", "result.h5ad", "written.h5ad"):  # of an earlier benchmark in the same folder
        (order.out / left).unlink(missing_ok=True)
    if not backend.is_installed:
        reason = backend.absence
        run.steps = [StepResult(step, "failed" if step == "read" else "skipped", reason=reason) for step in order.steps]
        return run
    order.out.mkdir(parents=True, exist_ok=True)
    asked = {"recipe": asdict(order.recipe), "steps": list(order.steps), "groups": order.groups, "save": order.save}
    asked |= {"backend": order.backend, "file": str(order.file.resolve()), "out": str(order.out.resolve())}
    command = [sys.executable, "-P", "-m", "scanpy_oom.bench.worker", json.dumps(asked)]
    with (
        (order.out / "log.txt").open("w") as log,
        subprocess.Popen(
            command,
            env=order.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        watch = Watch(process, order.limits)
        try:
            _Record(run, order, watch, display).follow(events(process.stdout or (), log))
            code = process.wait()
        except BaseException:
            process.kill()  # no run goes on unwatched
            raise
        finally:
            watch.close()
    _conclude(run, order, watch, code)
    return run


class _Record:
    """Takes down the events of a run."""

    def __init__(self, run: Run, order: Order, watch: Watch, display: Display | None) -> None:
        self.run, self.order, self.watch, self.display = run, order, watch, display

    def follow(self, told: Iterable[dict[str, Any]]) -> None:
        for event in told:
            match event:
                case {"event": "begin", "imports": imports}:
                    self.run.imports = imports
                case {"event": "start", "step": step}:
                    self.run.steps.append(StepResult(step, "failed", reason=_UNFINISHED))
                    if self.display:
                        self.display.start_step(step)
                case {"event": "done"}:
                    self.done(event)
                case {"event": "failed", "reason": reason}:
                    self.run.steps[-1].reason = reason
                case {"event": "skipped", "step": step, "reason": reason}:
                    self.run.steps.append(StepResult(step, "skipped", reason=reason))
                case {"event": "end", "notes": notes, "compile_seconds": seconds}:
                    self.run.notes += notes
                    self.run.compile_seconds = seconds

    def done(self, event: dict[str, Any]) -> None:
        found, begin, end = self.run.steps[-1], event["begin"], event["end"]
        sampled = self.watch.peak(begin, end)
        most = max((rss for rss in (event["mark"], sampled) if rss is not None), default=self.run.imports)
        found.status, found.reason = "done", None
        found.begin, found.end, found.seconds = begin, end, end - begin
        found.cpu_seconds, found.bytes_read = event["cpu_seconds"], event["bytes_read"]
        found.held = max(0, event["held"] - self.run.imports)
        found.peak = max(0, most - self.run.imports)
        found.peak_sampled = None if sampled is None else max(0, sampled - self.run.imports)
        if self.display:
            self.display.finish_step(found.step, found.seconds, found.peak)


def _conclude(run: Run, order: Order, watch: Watch, code: int) -> None:
    """Settle what was under way when the process ended, and bring times and memory to their beginnings."""
    if code:
        reason = watch.stopped or _describe_exit(code, order.out / "log.txt")
        begun = run.steps and run.steps[-1].status == "failed" and run.steps[-1].reason == _UNFINISHED
        if begun:
            run.steps[-1].reason = reason
            run.steps[-1].peak_sampled = max((rss for _, rss in watch.samples), default=run.imports) - run.imports
        elif len(run.steps) == len(order.steps):
            run.ending = reason
        missing = [step for step in order.steps if step not in {found.step for found in run.steps}]
        run.steps += [
            StepResult(step, "failed" if not run.steps and i == 0 else "skipped", reason=reason)
            for i, step in enumerate(missing)
        ]
    origin = min((found.begin for found in run.steps if found.begin), default=0.0)
    for found in run.steps:
        if found.begin:
            found.begin, found.end = found.begin - origin, found.end - origin
    last = run.steps[-1].end if run.steps and run.steps[-1].end else float("inf")  # then the process winds up
    samples = [
        (at - origin, rss - run.imports) for at, rss in watch.samples if origin and origin <= at <= origin + last
    ]
    run.memory = [(round(at, 4), above) for at, above in thin(samples)]
    run.notes += _doubts(run)
    written = order.out / "written.h5ad"
    if written.exists():
        run.written = written.stat().st_size if run.get("write") else None
        written.unlink()


def _doubts(run: Run) -> list[str]:
    """Name the steps in which samples and the kernel's high-water mark are far apart: a short peak between samples."""
    far = []
    for found in run.steps:
        if found.peak is not None and found.peak_sampled is not None:
            missed = found.peak - found.peak_sampled
            if missed > max(10_000_000, 0.05 * found.peak):
                far.append(f"{found.step} ({missed / 1e6:,.0f} MB more than sampled)")
    return [f"short peaks, told by the kernel alone: {', '.join(far)}"] if far else []


def _describe_exit(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), as the system does when memory runs out"
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name}); see {log}"
    return f"ended with exit code {code}; see {log}"
