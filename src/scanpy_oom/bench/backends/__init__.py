"""Backends: one class each, in a module that only the measured process imports.

Modules here import the recipe, and the package that they measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .memory import Workflow

__all__ = ["BACKENDS", "Backend"]


@dataclass(frozen=True)
class Backend:
    """One way of running the workflow.

    Attributes
    ----------
    name
        As on the command line; the module has it with underscores.
    label
        As in tables and figures.
    package
        What must be installed for it beyond this package's own requirements.
    is_active
        Whether scanpy-oom is at work in it.
    keeps_graph_kernels
        Whether what is compiled for neighbours, layouts and clusters is kept from one process to the next.
    distribution
        Name by which the package is installed, where it is another one.
    python
        Least version of Python for which it can be installed, where it is a later one than this package's.
    environment
        Variables of its process.
    """

    name: str
    label: str
    package: str | None = None
    is_active: bool = False
    keeps_graph_kernels: bool = False
    distribution: str | None = None
    python: str | None = None
    environment: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_installed(self) -> bool:
        """True if it can be run."""
        return self.package is None or find_spec(self.package) is not None

    @property
    def absence(self) -> str:
        """What is said where it is not installed."""
        name = self.distribution or self.package
        where = "" if self.python is None else f", on Python {self.python} or later"
        return f"{name} is not installed (pip install {name}{where})"

    def load(self) -> type[Workflow]:
        """Import what runs it."""
        found: type[Workflow] = import_module(f".{self.name.replace('-', '_')}", __name__).Workflow
        return found


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("memory", "scanpy in memory"),
        Backend("memory-seed", "scanpy in memory, seed 1"),
        Backend("oom", "scanpy-oom", is_active=True),
        Backend(
            "oom-fast",
            "scanpy-oom, graph of its own",
            is_active=True,
            keeps_graph_kernels=True,
            environment={"SCANPY_OOM_GRAPH": "fast"},
        ),
        Backend("dask", "scanpy with Dask", "dask"),
        Backend("anndataoom", "anndataoom", "anndataoom"),
        Backend("autozyme", "scanpy with autozyme", "autozyme", environment={"AUTOZYME_QUIET": "1"}),
        Backend("crest", "CREST in memory", "crest", distribution="crest-sc"),
        Backend("crest-disk", "CREST out of core", "crest", distribution="crest-sc"),
        Backend("cytearc", "CyteArc", "cytearc", keeps_graph_kernels=True, python="3.13"),
    )
}
