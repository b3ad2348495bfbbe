"""Workers of a client: who is asked, and what is said where there is nobody who could be."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import scanpy as sc
from dask.distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import scanpy_oom
from scanpy_oom.engine.cluster import client as client_module
from scanpy_oom.engine.cluster.client import Cluster, cluster_of
from scanpy_oom.engine.compute import compute
from scanpy_oom.errors import OOMError
from scanpy_oom.reductions import AxisStatistics
from scanpy_oom.settings import settings

from .planted import find_first, find_no_more
from .results import last_pass

WAY_OUT = r"settings\.engine = 'threads'"


def test_the_client_of_the_moment_and_the_address_of_its_scheduler_are_engines_too(client, read):
    want = compute(read().X, AxisStatistics()).known
    with client.as_current():
        settings.engine = "dask"
        found = compute(read().X, AxisStatistics()).known
        assert last_pass().device == "2 Dask workers"
    settings.engine = client.scheduler.address
    again = compute(read().X, AxisStatistics()).known
    assert last_pass().device == "2 Dask workers"
    assert cluster_of(client.scheduler.address).client is cluster_of(client.scheduler.address).client
    cluster_of(client.scheduler.address).client.close()
    for name, values in want.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(again[name], values)


def test_other_engines_are_none_of_dask():
    assert cluster_of("threads") is None
    assert cluster_of(object()) is None


def test_without_a_client_there_is_a_way_out():
    said = rf"there is no Dask client.*distributed\.Client\(\).*{WAY_OUT}"
    with pytest.raises(OOMError, match=said), scanpy_oom.engine("dask"):
        pass


def test_a_closed_client_is_named_and_forgotten(cluster, read):
    client = Client(cluster, set_as_default=False)
    with scanpy_oom.engine(client):
        compute(read().X, AxisStatistics())
        client.close()
        with pytest.raises(OOMError, match=rf"Dask client of settings\.engine is closed.*{WAY_OUT}"):
            compute(read().X, AxisStatistics())
    with Client(cluster, set_as_default=False) as other:
        cluster_of(other)
        assert client not in client_module._clusters
        assert other in client_module._clusters


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://"])
def test_an_address_where_nobody_answers_is_named(address):
    said = rf"No Dask scheduler answers at '{address}'.*{WAY_OUT}"
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(OOMError, match=said),
        scanpy_oom.engine(address),
    ):
        pass


def test_a_client_of_an_event_loop_is_refused():
    async def ask():
        async with Client(processes=False, asynchronous=True, dashboard_address=":0", set_as_default=False) as client:
            with pytest.raises(OOMError, match=rf"asynchronous=False.*{WAY_OUT}"), scanpy_oom.engine(client):
                pass

    asyncio.run(ask())


def test_steps_without_a_pass_do_not_ask_for_the_engine(read):
    adata = read()
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        client = Client(cluster, set_as_default=False)
        with scanpy_oom.engine(client):
            client.close()
            sc.pp.log1p(adata)
            with pytest.raises(OOMError, match=rf"is closed.*{WAY_OUT}"):
                adata.X.sum()


def test_a_cluster_without_workers_is_named(read):
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        scanpy_oom.engine(client),
        pytest.raises(OOMError, match=rf"inproc://.* has no workers.*{WAY_OUT}"),
    ):
        compute(read().X, AxisStatistics())


def test_another_version_on_a_worker_is_named_beside_ours(cluster, read, tmp_path):
    """As after an update of the client's environment alone: another version is installed there, and found first."""
    installed = Path(tmp_path / "scanpy_oom-99.1.dist-info")
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: scanpy-oom\nVersion: 99.1\n")
    with Client(cluster, set_as_default=False) as client:
        worker = next(iter(client.nthreads()))
        client.run(find_first, str(tmp_path), workers=[worker])
        try:
            with scanpy_oom.engine(client), pytest.raises(OOMError, match=WAY_OUT) as error:
                compute(read().X, AxisStatistics())
        finally:
            client.run(find_no_more, str(tmp_path), workers=[worker])
        assert worker in str(error.value)
        assert f"scanpy-oom 99.1 (here {scanpy_oom.__version__})" in str(error.value)
        with scanpy_oom.engine(client):
            compute(read().X, AxisStatistics())


seatings = st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=8)


@given(several=seatings)
def test_workers_that_stay_keep_their_places_while_others_come_and_go(several):
    this = Cluster.__new__(Cluster)  # without a client: nobody is asked
    this._places = before = []
    for there in several:
        threads = dict.fromkeys(sorted(there), 1)
        this._seat(threads, [address for address in threads if address not in before])
        assert sorted(this._places) == sorted(there)
        stayed = [address for address in before if address in there]
        assert [address for address in this._places if address in stayed] == stayed
        if len(there) >= len(before):
            assert all(this._places[k] == address for k, address in enumerate(before) if address in there)
        before = this._places


def test_a_worker_that_comes_and_one_that_goes_are_noticed(read):
    want = compute(read().X, AxisStatistics()).known["col_sum"]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        scanpy_oom.engine(client),
    ):
        for n in (1, 3, 2):
            cluster.scale(n)
            end = time.monotonic() + 30
            while len(client.nthreads()) != n and time.monotonic() < end:
                time.sleep(0.02)
            found = compute(read().X, AxisStatistics()).known["col_sum"]
            np.testing.assert_array_equal(found, want)
            assert last_pass().device == f"{n} Dask worker{'s' if n > 1 else ''}"


def test_what_is_kept_of_a_client_does_not_keep_it_in_memory(cluster):
    for _ in range(3):
        client = Client(cluster, set_as_default=False)
        cluster_of(client)
        client.close()
        del client
    gc.collect()
    assert sum(one.status == "closed" for one in client_module._clusters) <= 1
