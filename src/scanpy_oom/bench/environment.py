"""The machine and the versions of packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from .. import __version__
from ..memory.system import available_memory

__all__ = ["describe_machine", "describe_versions"]

COMPARED = ("anndataoom", "autozyme", "crest-sc", "cytearc", "dask")
PACKAGES = ("scanpy", "anndata", *COMPARED, "numpy", "scipy", "numba", "h5py", "scikit-learn", "umap-learn")


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory and system, and how busy the machine was."""
    memory = psutil.virtual_memory()
    return {
        "processor": _processor(),
        "cores": _usable_cores(),
        "memory": memory.total,
        "memory_available": available_memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that it is compared with or rests on."""
    found = {"python": platform.python_version(), "scanpy-oom": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
