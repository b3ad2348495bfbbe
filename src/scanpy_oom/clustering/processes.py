"""Searches for clusters in processes of their own.

igraph holds Python's lock while it looks for clusters, since its random numbers come from Python, and it has one
generator for all threads. So threads would take turns, and processes do not. These are started afresh: a fork of a
process with threads may hang, and :mod:`multiprocessing` would run an unguarded script a second time.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..memory.ledger import ACCOUNTANT
from ..settings import settings
from .leiden import Clusters, clusters_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .graph import HalfGraph
    from .leiden import Search

__all__ = ["all_clusters", "work"]

BYTES_OF_A_PROCESS = 150 * 10**6
"""What Python, NumPy, SciPy and igraph take in a process."""

WORTH = 3_000_000
"""Stored values below which no process is started: it takes a second or two, and builds the graph anew."""

_ARRAYS = ("indptr", "indices", "data")

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from scanpy_oom.clustering.processes import work; work(sys.argv[2])"
)


def all_clusters(half: HalfGraph, searches: Sequence[Search]) -> Iterator[Clusters]:
    """Yield what each search finds, in their order, looking for as many at one time as cores and memory allow.

    Parameters
    ----------
    half
        The graph.
    searches
        Their sources of random numbers must be independent of each other.
    """
    n_processes = number_of_processes(half, len(searches))
    if n_processes < 2:
        yield from clusters_of(half, searches)
        return
    each = half.nbytes + BYTES_OF_A_PROCESS
    with (
        tempfile.TemporaryDirectory(dir=settings.scratch_dir, prefix="scanpy_oom_") as folder,
        ACCOUNTANT.reserve(workspace=n_processes * each),
        ThreadPoolExecutor(n_processes) as pool,
    ):
        _write(half, Path(folder))
        results = [
            pool.submit(_run, Path(folder), i, wanted, (half.factor, half.loops)) for i, wanted in enumerate(searches)
        ]
        try:
            found = [result.result() for result in results]
        finally:
            for result in results:
                result.cancel()
    # a process that failed leaves its search to this one, where an error is seen as it is
    missing = clusters_of(half, [wanted for wanted, one in zip(searches, found, strict=True) if one is None])
    for one in found:
        yield next(missing) if one is None else one


def number_of_processes(half: HalfGraph, n_searches: int) -> int:
    """Return how many processes look for clusters at one time; below 2, this one does so."""
    if len(half.data) < WORTH or not sys.executable:
        return 1
    fits = ACCOUNTANT.available() // (half.nbytes + BYTES_OF_A_PROCESS)
    return int(min(settings.n_threads, n_searches, fits))


def _write(half: HalfGraph, folder: Path) -> None:
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(half, name))


def _run(folder: Path, i: int, wanted: Search, factors: tuple[float, float]) -> Clusters | None:
    """Have a process look for clusters; `None` if that failed."""
    job, labels = folder / f"{i}.job", folder / f"{i}.npy"
    job.write_bytes(pickle.dumps((wanted, factors)))
    command = [sys.executable, "-c", _PROGRAM, json.dumps([part for part in sys.path if isinstance(part, str)])]
    env = {**os.environ, "SCANPY_OOM_DISABLE": "1"}
    done = subprocess.run([*command, str(job)], env=env, capture_output=True, check=False)
    if done.returncode or not labels.exists():
        return None
    return Clusters(np.load(labels), float.fromhex(done.stdout.decode().split()[-1]))


def work(path: str) -> None:
    """Look for clusters in this process, which has been started for that.

    Parameters
    ----------
    path
        The file that says what to look for, beside those of the graph.
    """
    from .graph import HalfGraph

    job = Path(path)
    wanted, factors = pickle.loads(job.read_bytes())
    arrays = [np.load(job.parent / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
    (found,) = clusters_of(HalfGraph(*arrays, *factors), [wanted])
    np.save(job.with_suffix(".npy"), found.labels)
    sys.stdout.write(found.modularity.hex())
