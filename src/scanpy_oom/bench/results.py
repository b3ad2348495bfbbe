"""Measurements as records, written to JSON and CSV and read again."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from .backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["Agreement", "Dataset", "Results", "Run", "StepResult"]

Status = Literal["done", "failed", "skipped"]

MACHINE = ("processor", "cores", "memory", "system", "load_average")
"""Facts about a machine; all but the last identify it."""


@dataclass
class StepResult:
    """One step of one run.

    Attributes
    ----------
    step
        Its name.
    status
        What became of it.
    begin, end
        Seconds since the run began its first step.
    seconds, cpu_seconds
        Time that passed, and that processors worked, those of child processes among them.
    peak
        Most bytes that were resident above those after the imports.
    peak_sampled
        The same by samples alone; `peak` is the kernel's high-water mark where the kernel tells.
    held
        Bytes that were still resident at its end, above those after the imports.
    bytes_read
        Bytes that were asked of the system, whether it had them in memory or not; `None` where it does not count them.
    reason
        Why it was not done.
    """

    step: str
    status: Status
    begin: float = 0.0
    end: float = 0.0
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak: int | None = None
    peak_sampled: int | None = None
    held: int | None = None
    bytes_read: int | None = None
    reason: str | None = None


@dataclass
class Run:
    """One backend on one data set, once.

    Attributes
    ----------
    dataset, backend
        Names.
    repeat
        Number of the run, from 0.
    steps
        In their order.
    imports
        Bytes that were resident after the imports.
    memory
        Seconds since the first step, and bytes above those after the imports; thinned, with the largest kept.
    compile_seconds
        Time in which kernels of this package were compiled; 0 where they had been kept.
    written
        Bytes of the file that the step `write` left; `None` without one.
    ending
        Why the process did not end well after its last step; `None` if it did.
    notes
        What is to be known of it.
    """

    dataset: str
    backend: str
    repeat: int = 0
    steps: list[StepResult] = field(default_factory=list)
    imports: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)
    compile_seconds: float = 0.0
    written: int | None = None
    ending: str | None = None
    notes: list[str] = field(default_factory=list)

    def get(self, step: str) -> StepResult | None:
        """Return a step that was done; `None` if it was not."""
        return next((found for found in self.steps if found.step == step and found.status == "done"), None)

    @property
    def failures(self) -> list[StepResult]:
        """The steps that were begun and failed."""
        return [found for found in self.steps if found.status == "failed"]

    @property
    def is_complete(self) -> bool:
        """True if all was done, to the end."""
        return self.ending is None and all(found.status == "done" for found in self.steps)

    def told(self, label: str) -> list[str]:
        """Say what failed, and why."""
        ending = [] if self.ending is None else [f"{label}: after the last step: {self.ending}"]
        return [f"{label}: {found.step} failed: {found.reason}" for found in self.failures] + ending


@dataclass
class Dataset:
    """The machine and versions of a run.

    Attributes
    ----------
    name
        A short one, which names files, too.
    cells, genes, nnz
        Shape, and number of entries that are stored.
    format, dtype, compression
        How the matrix is stored.
    file_bytes
        Size of the file.
    made
        Seed, if the matrix was made.
    """

    name: str
    cells: int
    genes: int
    nnz: int
    format: str
    dtype: str
    compression: str
    file_bytes: int
    made: int | None = None

    def __str__(self) -> str:
        density = self.nnz / (self.cells * self.genes)
        origin = "" if self.made is None else f", made with seed {self.made}"
        return (
            f"{self.cells:,} cells × {self.genes:,} genes, {density:.1%} stored, "
            f"{self.file_bytes / 1e6:,.0f} MB on disk ({self.format}, {self.compression}{origin})"
        )


@dataclass
class Agreement:
    """Agreement of one backend's results with another's.

    Attributes
    ----------
    dataset, backend, reference
        What was compared with what.
    cells, genes
        Share of the cells and of the variable genes of either that both have (Jaccard index).
    components
        Smallest absolute correlation of a principal component with its counterpart.
    subspace
        Mean canonical correlation of the principal components, which does not mind their order and rotation.
    clusters
        Adjusted Rand index.
    recall
        Part of the nearest neighbours of some cells that were found, by the components of the backend itself.
    trustworthiness
        Of the layout, by the components of the backend itself, as a part of that of the reference (Venna and Kaski,
        2006): the smaller of those of 15 and 30 neighbours.
    preservation
        Part of the nearest neighbours in the components that are so in the layout, as a part of the reference's: the
        smaller of those of 15 and 30.
    """

    dataset: str
    backend: str
    reference: str
    cells: float
    genes: float | None = None
    components: float | None = None
    subspace: float | None = None
    clusters: float | None = None
    recall: float | None = None
    trustworthiness: float | None = None
    preservation: float | None = None


@dataclass
class Results:
    """All that one benchmark found.

    Attributes
    ----------
    machine, versions, settings
        Where, with what and how it was measured.
    datasets, runs, agreement
        The records.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, object]
    datasets: list[Dataset] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    agreement: list[Agreement] = field(default_factory=list)

    def backends(self, dataset: str | None = None) -> list[str]:
        """Return the backends that were run, on one data set or on any."""
        return list(dict.fromkeys(run.backend for run in self.runs if dataset in {None, run.dataset}))

    def of(self, dataset: str, backend: str) -> list[Run]:
        """Return the runs of one backend on one data set."""
        return [run for run in self.runs if (run.dataset, run.backend) == (dataset, backend)]

    def steps(self, dataset: str) -> list[str]:
        """Return the steps that were taken on one data set, in their order."""
        return list(dict.fromkeys(found.step for run in self.runs if run.dataset == dataset for found in run.steps))

    def write_json(self, path: Path) -> None:
        """Write everything."""
        path.write_text(json.dumps({"version": 1, **asdict(self)}, indent=1) + "\n", encoding="utf-8")

    def write_csv(self, path: Path) -> None:
        """Write a line for each step of each run."""
        names = list(StepResult.__dataclass_fields__)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["dataset", "backend", "repeat", *names])
            for run in self.runs:
                for found in run.steps:
                    row = ("" if (value := getattr(found, name)) is None else value for name in names)
                    writer.writerow([run.dataset, run.backend, run.repeat, *row])

    @classmethod
    def read_json(cls, path: Path) -> Self:
        """Read what :meth:`write_json` has written.

        Raises
        ------
        ValueError
            If the file is something else.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.pop("version") != 1:
                msg = f"{path} was written by another version of this package."
                raise ValueError(msg)
            runs = [
                Run(**{
                    **run,
                    "steps": [StepResult(**step) for step in run["steps"]],
                    "memory": [(at, above) for at, above in run["memory"]],
                })
                for run in found.pop("runs")
            ]  # fmt: skip
            if unknown := {run.backend for run in runs} - BACKENDS.keys():
                msg = f"{path} has runs of {', '.join(sorted(unknown))}; the backends are {', '.join(BACKENDS)}."
                raise ValueError(msg)
            datasets = [Dataset(**dataset) for dataset in found.pop("datasets")]
            agreement = [Agreement(**record) for record in found.pop("agreement")]
            results = cls(runs=runs, datasets=datasets, agreement=agreement, **found)
            if missing := [name for name in MACHINE if name not in results.machine]:
                msg = f"{path} lacks facts about its machine: {', '.join(missing)}."
                raise ValueError(msg)
            return results
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            msg = f"{path} is no result of `scanpy-oom bench` ({error!r})."
            raise ValueError(msg) from error

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the records of several benchmarks, made on one machine, as those of one.

        Raises
        ------
        ValueError
            If a backend was run on one data set in two of them, if a name stands for two data sets, or if they were
            made on different machines.
        """
        first, *others = parts
        joined = cls(first.machine, _versions(parts), {"joined": [part.settings for part in parts]})
        for part in (first, *others):
            if _model(part.machine) != _model(first.machine):
                msg = f"Results of two machines are not joined: {_model(first.machine)} and {_model(part.machine)}."
                raise ValueError(msg)
            for dataset in part.datasets:
                known = next((other for other in joined.datasets if other.name == dataset.name), None)
                if known is None:
                    joined.datasets.append(dataset)
                elif known != dataset:
                    msg = f"The name {dataset.name} stands for two data sets: {known}; and {dataset}."
                    raise ValueError(msg)
            for run in part.runs:
                if run.repeat == 0 and joined.of(run.dataset, run.backend):
                    msg = f"{run.backend} was run on {run.dataset} in two of the results."
                    raise ValueError(msg)
            joined.runs += part.runs
            joined.agreement += part.agreement
        return joined


def _versions(parts: Sequence[Results]) -> dict[str, str]:
    """Return the versions of all parts, several where they differ."""
    names = dict.fromkeys(name for part in parts for name in part.versions)
    found = {name: dict.fromkeys(part.versions[name] for part in parts if name in part.versions) for name in names}
    return {name: " and ".join(numbers) for name, numbers in found.items()}


def _model(machine: dict[str, object]) -> Iterable[object]:
    return tuple(machine[name] for name in MACHINE[:-1])
