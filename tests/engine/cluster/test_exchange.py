"""The folder by way of which workers exchange entries is gone when a pass is over, however it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom.engine.cluster.exchange import shared_folder
from scanpy_oom.engine.column_buckets import BUCKET
from scanpy_oom.engine.compute import compute
from scanpy_oom.reductions import GroupMedians, GroupRanks
from scanpy_oom.settings import settings
from scanpy_oom.storage.scratch.file import ScratchSpaceError

from ..test_array_implementation import CHAINS
from .planted import FailingOnceWritten, blind, seeing, set_bucket
from .results import assert_same_bits, last_pass


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path) -> Path:
    settings.scratch_dir = tmp_path
    settings.memory_limit = 10**9
    return tmp_path


def ranks(matrix):
    return compute(matrix, GroupRanks(np.arange(matrix.shape[0]) % 3, 3))


def test_entries_that_workers_have_written_are_ranked_and_the_folder_is_gone(client, read, scratch):
    want = ranks(read().X)
    with scanpy_oom.engine(client):
        found = ranks(read().X)
    assert_same_bits([found], [want], [GroupRanks(np.zeros(1), 1)])
    assert last_pass().device == "2 Dask workers"
    assert list(scratch.iterdir()) == []


@pytest.fixture
def _small_buckets(client):
    """Columns in many buckets, each of which is a part of the result."""
    set_bucket(5000)
    client.run(set_bucket, 5000)
    yield
    set_bucket(BUCKET)
    client.run(set_bucket, BUCKET)


@pytest.mark.usefixtures("_small_buckets")
@pytest.mark.parametrize(
    "chain, make",
    [("counts", GroupRanks), ("counts", GroupMedians), ("scaled", lambda codes, n: GroupRanks(codes, n, 1))],
)
def test_workers_compute_parts_of_the_result(client, read, scratch, make, chain):
    def found():
        x = CHAINS[chain](np.random.default_rng(0), (5000, 80))(read().X)
        x.sum(axis=0)  # by which columns are divided among buckets
        one = make(np.arange(5000) % 3, 3)
        return compute(x, one), one

    want, one = found()
    assert len(one.buckets) > 10
    with scanpy_oom.engine(client):
        assert_same_bits([found()[0]], [want], [one])
    assert last_pass().device == "2 Dask workers"
    assert list(scratch.iterdir()) == []


def test_an_error_leaves_no_folder(client, read, scratch):
    with scanpy_oom.engine(client), pytest.raises(RuntimeError, match="planted"):
        compute(read().X, FailingOnceWritten(np.zeros(5000), 1))
    assert list(scratch.iterdir()) == []


def test_what_killed_processes_have_left_is_removed_and_what_others_use_is_not(client, scratch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, here = socket.gethostname(), Path("scanpy-oom-exchange")
    left = scratch / f"{here}-{host}-{gone.pid}-abc"
    others = [
        scratch / f"{here}-{host}-{1}-abc",  # of a process that is there
        scratch / f"{here}-{host}x-{gone.pid}-abc",  # of another machine, of which we know nothing
        scratch / f"{here}-{host}-notes",
        scratch / "mine",
    ]
    for folder in (left, *others):
        folder.mkdir()
        (folder / "0-0-0.values").write_bytes(b"x")
    with shared_folder(client) as folder:
        assert folder is not None
        assert folder.parent == scratch
    assert sorted(scratch.iterdir()) == sorted(others)


def test_a_scratch_folder_that_is_not_there_is_named_with_a_way_out(client, read, scratch):
    settings.scratch_dir = scratch / "nowhere"
    with scanpy_oom.engine(client), pytest.raises(ScratchSpaceError, match=r"nowhere.*Set settings\.scratch_dir"):
        ranks(read().X)


def test_where_a_worker_does_not_see_the_folder_ranks_are_computed_here(client, read, scratch):
    want = ranks(read().X)
    worker = next(iter(client.nthreads()))
    client.run(blind, str(scratch), workers=[worker])
    try:
        with shared_folder(client) as folder:
            assert folder is None
        with scanpy_oom.engine(client):
            found = ranks(read().X)
    finally:
        client.run(seeing, workers=[worker])
    assert_same_bits([found], [want], [GroupRanks(np.zeros(1), 1)])
    assert last_pass().why_not_on_device == "scratch space that workers do not share"
    assert list(scratch.iterdir()) == []


def test_wilcoxon_is_the_same(client, read, scratch):
    results = []
    for engine in ("threads", client):
        adata = read()
        sc.pp.log1p(adata)
        with scanpy_oom.engine(engine):
            sc.tl.rank_genes_groups(adata, "kind", method="wilcoxon", tie_correct=True)
        results.append(adata.uns["rank_genes_groups"])
    for name in ("names", "scores", "pvals", "logfoldchanges"):
        np.testing.assert_array_equal(results[0][name], results[1][name])
    assert list(scratch.iterdir()) == []
