"""Clusters of this machine: two processes, and workers within this process, which start at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import dask
import numpy as np
import pytest
import scanpy as sc
from dask.distributed import Client, LocalCluster

import scanpy_oom
from scanpy_oom.engine.cluster import executor  # noqa: F401 - before a test counts threads or files

from ...matrices import annotated, counts


@pytest.fixture(scope="session", autouse=True)
def _enabled() -> None:
    """Also where the package is on the path and not installed."""
    scanpy_oom.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process of its own.

    Runs stay where they are placed. On a busy machine, Dask would now and then give one to the other worker, which has
    no copy of its rows: what is read would differ from time to time.
    """
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        yield client


def _within(n_workers: int, n_threads: int) -> Iterator[Client]:
    how = {"processes": False, "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=n_threads, **how) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def three() -> Iterator[Client]:
    """Three workers of this process: what they hand to each other is not copied."""
    yield from _within(3, 1)


@pytest.fixture(scope="session")
def four() -> Iterator[Client]:
    """Four of them."""
    yield from _within(4, 1)


@pytest.fixture(scope="session")
def one() -> Iterator[Client]:
    """One worker of this process, with two threads."""
    yield from _within(1, 2)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values that are rounded where they are added, in more tasks than one group has."""
    x = counts(5000, 80)
    x.data = (x.data * np.random.default_rng(0).random(x.nnz)).astype(np.float32)
    path = tmp_path_factory.mktemp("cluster") / "values.h5ad"
    annotated(x).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def read(path: Path) -> Callable[[], ad.AnnData]:
    """Opens the file anew: nothing of it is known or kept."""
    return lambda: sc.read_h5ad(path, backed="oom")
