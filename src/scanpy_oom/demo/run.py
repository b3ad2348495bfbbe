"""A measured run of the workflow: a fresh process, watched from here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .channel import events

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .display import Display
    from .steps import Plan

__all__ = ["LABELS", "Mode", "Outcome", "StepCost", "run_workflow"]

Mode: TypeAlias = Literal["memory", "oom"]
LABELS: dict[Mode, str] = {"memory": "in memory", "oom": "out of memory"}


@dataclass(frozen=True)
class StepCost:
    """What one step took: seconds, and bytes of resident memory above those after the imports."""

    seconds: float
    peak: int


@dataclass
class Outcome:
    """What became of one run.

    Attributes
    ----------
    mode
        Where the matrix was.
    costs
        Cost of each step that was completed.
    compile_seconds
        Time in which this package's kernels were compiled; 0 where the cache had them.
    shape
        Cells and genes at the end.
    step
        The step that was begun last.
    failure
        Why the run ended in that step; `None` if it was completed.
    """

    mode: Mode
    costs: dict[str, StepCost] = field(default_factory=dict)
    compile_seconds: float = 0.0
    shape: tuple[int, int] = (0, 0)
    step: str = "start"
    failure: str | None = None

    def excuse(self, step: str) -> str:
        """Say why there is no cost of this step."""
        return "failed" if step == self.step else "-"

    def total(self, steps: Iterable[str]) -> StepCost:
        """Seconds of these steps together, and the largest of their peaks."""
        costs = [self.costs[step] for step in steps]
        return StepCost(sum(cost.seconds for cost in costs), max((cost.peak for cost in costs), default=0))


def run_workflow(mode: Mode, file: Path, out: Path, plan: Plan, display: Display | None = None) -> Outcome:
    """Run the workflow on `file` in a process of its own.

    Parameters
    ----------
    mode
        Whether the matrix is read into memory or stays on disk.
    file
        An h5ad with counts in X.
    out
        Folder for the results, made here. What the process prints goes to `log.txt` in it.
    plan
        The steps.
    display
        Shows the progress.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "scanpy_oom.demo.worker", str(file), str(out)]
    command += ["--steps", ",".join(plan.steps)]
    if plan.groups is not None:
        command += ["--groups", plan.groups]
    environment = {name: value for name, value in os.environ.items() if name != "SCANPY_OOM_DISABLE"}
    if mode == "oom":
        command += ["--backed", "oom"]
    else:
        environment["SCANPY_OOM_DISABLE"] = "1"

    outcome = Outcome(mode)
    with (
        (out / "log.txt").open("w") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        try:
            _follow(events(process.stdout or (), log), outcome, display)
        except BaseException:
            process.kill()  # no run goes on unwatched
            raise
    if process.returncode and outcome.failure is None:
        outcome.failure = _describe_exit(process.returncode, out / "log.txt")
    return outcome


def _follow(told: Iterable[dict[str, Any]], outcome: Outcome, display: Display | None) -> None:
    """Take down what the process reports, until it ends."""
    for event in told:
        match event:
            case {"event": "start", "step": step}:
                outcome.step = step
                if display:
                    display.start_step(step)
            case {"event": "done", "step": step, "seconds": seconds, "peak": peak}:
                outcome.costs[step] = StepCost(seconds, peak)
                if display:
                    display.finish_step(step, seconds, peak)
            case {"event": "failed", "reason": reason}:
                outcome.failure = reason
            case {"event": "end", "compile_seconds": seconds, "shape": [n_obs, n_vars]}:
                outcome.compile_seconds, outcome.shape = seconds, (n_obs, n_vars)


def _describe_exit(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), as the system does when memory runs out"
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name}); see {log}"
    return f"ended with exit code {code}; see {log}"
