"""Passes on a Dask cluster beside threads: seconds, bytes between processes, and what killed workers change.

``python benchmarks/cluster.py FILE.h5ad [--workers 2] [--turns 3] [--kills 20] [--worker-memory 700MB] [--write
zarr|h5ad]``. FILE holds counts. Reading to PCA, or writing normalized values, is measured on threads and on workers of
one thread each, taking turns; results must be equal to the last bit. With `--kills`, that many more runs follow in
which a random worker is killed at a random time.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import psutil
import scanpy as sc
import zarr
from dask.distributed import Client, LocalCluster

import scanpy_oom

if TYPE_CHECKING:
    from anndata import AnnData

ENTRIES = 2**24
"""Entries of which a digest is made at a time."""

LOOPBACK = "lo"
"""Interface by which processes of one machine talk."""


def workflow(path: str) -> AnnData:
    """Go from the file to the principal components."""
    adata = sc.read_h5ad(path, backed="oom")
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, inplace=True)
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata)
    return adata


def written(path: str, form: str) -> str:
    """Normalize and write; return a digest of what is in the file."""
    adata = sc.read_h5ad(path, backed="oom")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata = adata[:, 100:].copy()
    digest = hashlib.blake2b()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"out.{form}"
        if form == "zarr":
            adata.write_zarr(target)
            x = zarr.open_group(target, mode="r")["X"]
        else:
            adata.write_h5ad(target, compression="gzip")
            x = h5py.File(target)["X"]
        for key in ("indptr", "indices", "data"):
            for start in range(0, x[key].shape[0], ENTRIES):
                digest.update(x[key][start : start + ENTRIES])
    return digest.hexdigest()


def differences(one: AnnData | str, other: AnnData | str) -> list[str]:
    """Name what differs in any bit."""
    if isinstance(one, str) or isinstance(other, str):
        return [] if one == other else ["file"]
    frames = [f"{name}.{key}" for name in ("obs", "var") for key in getattr(one, name)]
    found = [key for key in frames if not getattr(one, key[:3])[key[4:]].equals(getattr(other, key[:3])[key[4:]])]
    equal = np.array_equal(one.obsm["X_pca"], other.obsm["X_pca"])
    return found if equal else [*found, "X_pca"]


def sent() -> int:
    """Return the bytes that processes of this machine have sent each other."""
    return int(psutil.net_io_counters(pernic=True)[LOOPBACK].bytes_sent)


def timed(path: str, form: str | None) -> tuple[AnnData | str, float, int]:
    """Return the result of the workflow, or of writing, its seconds, and bytes between processes."""
    start, before = time.perf_counter(), sent()
    found = workflow(path) if form is None else written(path, form)
    return found, time.perf_counter() - start, sent() - before


def most_resident() -> int | None:
    """Return the most bytes that this process has had in memory, where the kernel tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


class Workers:
    """Workers of a scheduler, each a process of its own.

    Parameters
    ----------
    scheduler
        Its address.
    n
        How many.
    memory
        Limit of each.
    """

    def __init__(self, scheduler: str, n: int, memory: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--no-dashboard"]
        self._command = [*command, "--nthreads", "1", "--memory-limit", memory]
        self._processes = [self._started() for _ in range(n)]

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_one(self, within: float) -> threading.Timer:
        """Kill a random worker at a random time of the next seconds, and start another one."""

        def kill() -> None:
            number = random.randrange(len(self._processes))
            self._processes[number].kill()
            self._processes[number].wait()
            self._processes[number] = self._started()

        timer = threading.Timer(random.uniform(0, within), kill)
        timer.start()
        return timer

    def stop(self) -> None:
        """End them all."""
        for process in self._processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-memory", default="auto")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--write", choices=("h5ad", "zarr"))
    asked = parser.parse_args()
    scanpy_oom.settings.n_threads = asked.workers
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster, Client(cluster) as client, ExitStack() as stack:
        workers = Workers(cluster.scheduler_address, asked.workers, asked.worker_memory)
        stack.callback(workers.stop)
        client.wait_for_workers(asked.workers)
        expected, *_ = timed(asked.file, asked.write)
        with scanpy_oom.engine(client):  # workers import what they need
            timed(asked.file, asked.write)
        seconds: dict[str, list[float]] = {"threads": [], "workers": []}
        for _ in range(asked.turns):
            _, threads, _ = timed(asked.file, asked.write)
            with scanpy_oom.engine(client):
                found, on_workers, nbytes = timed(asked.file, asked.write)
            seconds["threads"].append(threads)
            seconds["workers"].append(on_workers)
            differing = differences(expected, found) or "nothing"
            peaks = client.run(most_resident).values()
            resident = ", ".join("?" if peak is None else f"{peak / 1e6:,.0f}" for peak in peaks)
            print(
                f"threads {threads:6.2f} s  workers {on_workers:6.2f} s  {nbytes / 1e6:6,.0f} MB sent  "
                f"{resident} MB resident at most  differing: {differing}",
                flush=True,
            )
        expected_seconds = 10.0
        if asked.turns:
            one, other = (statistics.median(seconds[name]) for name in ("threads", "workers"))
            expected_seconds = other
            print(f"speed of {asked.workers} workers, as a part of that of {asked.workers} threads: {one / other:.2f}")
        for number in range(asked.kills):
            timer = workers.kill_one(1.2 * expected_seconds)
            with scanpy_oom.engine(client):
                found, took, _ = timed(asked.file, asked.write)
            timer.join()
            client.wait_for_workers(asked.workers)
            differing = differences(expected, found) or "nothing"
            print(f"kill {number + 1:2}: {took:6.2f} s, differing: {differing}", flush=True)
    litter = [folder.name for folder in Path(tempfile.gettempdir()).glob("scanpy-oom-*")]
    print(f"left in the scratch folder: {litter or 'nothing'}")


if __name__ == "__main__":
    main()
