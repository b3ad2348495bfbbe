"""What goes wrong on workers or is stopped by the user: results are right, or the error says what to do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import dask
import numpy as np
import pytest
import scanpy as sc
from dask.distributed import Client, LocalCluster

import scanpy_oom
from scanpy_oom.engine.compute import compute
from scanpy_oom.errors import MemoryBudgetExceeded, OOMError
from scanpy_oom.reductions import AxisStatistics, GroupMedians, GroupMoments, GroupRanks, GroupWelford
from scanpy_oom.settings import settings

from ...comparison import assert_same_anndata
from ...matrices import annotated, counts
from .planted import Deadly, Slow, SlowRanks, SlowWelford
from .results import assert_same_bits, last_pass


@pytest.fixture
def mortal() -> Iterator[Client]:
    """Two workers that may die: of one test, since Dask does not always start them again."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGINT raises, also where whoever started the tests had it ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path) -> Path:
    settings.scratch_dir = tmp_path
    return tmp_path


class After:
    """Does something in another thread some seconds after the pass has begun."""

    def __init__(self, seconds: float, what: Callable[[], object]) -> None:
        self._timer = threading.Timer(seconds, what)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()


CODES = np.arange(5000) % 3


@pytest.mark.parametrize(
    "slow, reductions",
    [
        (lambda: [Slow(), SlowRanks(CODES, 3)], lambda: [AxisStatistics(), GroupRanks(CODES, 3)]),
        (lambda: [SlowWelford(CODES, 3)], lambda: [GroupWelford(CODES, 3)]),
    ],
    ids=["merged and exchanged", "in order"],
)
def test_a_worker_that_is_killed_in_the_midst_of_a_pass_changes_nothing_of_the_result(
    mortal, read, scratch, slow, reductions
):
    settings.memory_limit = 10**9
    want = compute(read().X, *reductions(), AxisStatistics())
    pids = set(mortal.run(os.getpid).values())
    with scanpy_oom.engine(mortal):
        compute(read().X, AxisStatistics())  # workers are ready
        with After(0.3, lambda: os.kill(min(pids), signal.SIGKILL)):
            found = compute(read().X, *slow(), AxisStatistics())
    assert_same_bits(found, want, [*reductions(), AxisStatistics()])
    assert last_pass().device.endswith("Dask workers")
    assert last_pass().n_rows == 5000
    assert list(scratch.iterdir()) == []


def test_workers_that_die_again_and_again_are_given_up_with_a_hint(mortal, read):
    scheduler = mortal.cluster.scheduler
    before, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        with scanpy_oom.engine(mortal), pytest.raises(OOMError, match=r"died again and again.*Deadly.*memory"):
            compute(read().X, Deadly())
    finally:
        scheduler.allowed_failures = before


def test_a_cluster_that_ends_in_the_midst_of_a_pass_is_named_with_a_way_out(read, scratch):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        scanpy_oom.engine(client),
        After(0.3, cluster.close),
        pytest.raises(OOMError, match=r"Dask lost Slow\+SlowRanks of .*scheduler has ended.*engine = 'threads'"),
    ):
        compute(read().X, Slow(), SlowRanks(CODES, 3))
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def small() -> Iterator[Client]:
    """A worker with little memory, which Dask does not stop for having used it up."""
    off = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause", "terminate")}
    with (
        dask.config.set(off),
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="200MB", dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("reduction", [GroupMoments, GroupWelford])
def test_a_pass_for_which_a_worker_has_too_little_memory_names_it(small, tmp_path, reduction):
    annotated(counts(600, 4000, density=0.01)).write_h5ad(tmp_path / "wide.h5ad", compression="gzip")
    adata = sc.read_h5ad(tmp_path / "wide.h5ad", backed="oom")
    (worker,) = small.nthreads()
    with scanpy_oom.engine(small):
        compute(adata.X, AxisStatistics())
        with pytest.raises(MemoryBudgetExceeded) as error:
            compute(adata.X, reduction(np.arange(600), 600))
    assert f"On worker {worker}" in str(error.value)
    assert "give workers more memory" in str(error.value)


def stop(seconds: float):
    """Press Ctrl-C after a while."""
    return After(seconds, lambda: signal.raise_signal(signal.SIGINT))


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("slow", [Slow, lambda: SlowRanks(CODES, 3), lambda: SlowWelford(CODES, 3)])
def test_ctrl_c_stops_a_pass_and_the_next_one_works(client, read, scratch, slow):
    settings.memory_limit = 10**9
    want = compute(read().X, AxisStatistics())
    with scanpy_oom.engine(client):
        compute(read().X, AxisStatistics())
        with pytest.raises(KeyboardInterrupt), stop(0.3):
            compute(read().X, slow())
        assert list(scratch.iterdir()) == []
        found = compute(read().X, AxisStatistics())
    assert_same_bits([found], [want], [AxisStatistics()])
    assert last_pass().device == "2 Dask workers"


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_leaves_the_anndata_as_it_was(client, read, monkeypatch):
    from scanpy_oom.overrides.pp import _qc

    monkeypatch.setattr(_qc, "AxisStatistics", Slow)
    adata, before = read(), read()
    with scanpy_oom.engine(client):
        compute(read().X, AxisStatistics())
        with pytest.raises(KeyboardInterrupt), stop(0.3):
            sc.pp.calculate_qc_metrics(adata, percent_top=[5], inplace=True)
    assert_same_anndata(before, adata, rtol=0)


def test_an_error_on_a_worker_leaves_the_anndata_as_it_was(client, tmp_path):
    path = tmp_path / "a.h5ad"
    annotated(counts(3000, 40)).write_h5ad(path, compression="gzip")
    adata: ad.AnnData = sc.read_h5ad(path, backed="oom")
    sc.pp.log1p(adata)
    before = adata.copy()
    path.rename(tmp_path / "elsewhere.h5ad")  # the client has it open; workers have not
    with scanpy_oom.engine(client), pytest.raises(OOMError, match=r"a\.h5ad"):
        sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[5], inplace=True)
    (tmp_path / "elsewhere.h5ad").rename(path)
    assert adata.X._state is not None
    assert list(adata.obs) == list(before.obs)
    assert list(adata.var) == list(before.var)
    assert_same_anndata(before, adata, rtol=0)


def test_medians_and_ranks_of_passes_at_once_do_not_get_in_each_others_way(client, read):
    settings.memory_limit = 2 * 10**9
    want = compute(read().X, GroupRanks(CODES, 3)), compute(read().X, GroupMedians(CODES, 3))
    found: dict[int, object] = {}

    def work(k: int, reduction) -> None:
        with scanpy_oom.engine(client):
            found[k] = compute(read().X, reduction)

    asked = [GroupRanks(CODES, 3), GroupMedians(CODES, 3)] * 2
    threads = [threading.Thread(target=work, args=(k, one)) for k, one in enumerate(asked)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bits([found[k] for k in range(4)], want * 2, asked)
