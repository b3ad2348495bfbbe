"""What workers keep for a client from pass to pass, and for how long."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from dask.distributed import Client

import scanpy_oom
from scanpy_oom.engine.cluster.payload import token
from scanpy_oom.engine.cluster.session import open_session
from scanpy_oom.engine.compute import compute, run
from scanpy_oom.engine.request import Request
from scanpy_oom.errors import OOMError
from scanpy_oom.reductions import AxisStatistics, GroupMoments, GroupWelford, RightProduct
from scanpy_oom.settings import settings

from ...matrices import annotated, counts
from .planted import copies, evict_session, memory_limit, sessions
from .results import last_pass

ROW_SUMS = {"row_sum", "row_nnz", "row_npos"}


def pass_over(adata: ad.AnnData, reduction=None) -> int:
    """Make a pass on workers, and return the bytes that it has read of the file."""
    compute(adata.X, reduction or AxisStatistics())
    assert last_pass().device == "2 Dask workers"
    return last_pass().bytes_read


def kept(client: Client, adata: ad.AnnData) -> list[int]:
    """Numbers of copies of a file, worker by worker; zeros are left out."""
    name = token(adata.X.source)
    return [n for found in client.run(copies, client.id).values() if (n := found.get(name, 0))]


def test_the_file_is_read_once_and_then_from_copies_of_the_workers(client, read):
    adata = read()
    with scanpy_oom.engine(client):
        first = pass_over(adata)
        assert 0 < first < 1.2 * adata.X.source.nbytes
        assert pass_over(adata, GroupMoments(np.arange(5000) % 3, 3)) == 0
        assert pass_over(adata, GroupWelford(np.arange(5000) % 3, 3)) == 0
    assert len(kept(client, adata)) == 2
    assert adata.X.copies.narrowest(None) is None  # there is none here


@pytest.mark.parametrize("workers", ["one", "three"])
def test_threads_and_workers_of_one_process_keep_their_copies(request, read, workers):
    with Client(request.getfixturevalue(workers).cluster, set_as_default=False) as client, scanpy_oom.engine(client):
        adata = read()
        found = []
        for _ in range(3):
            adata.X.statistics.known.clear()
            compute(adata.X, AxisStatistics())
            found.append(last_pass().bytes_read)
        assert found[0] > 0
        assert found[-1] == 0


def test_bytes_that_are_read_ahead_of_a_pass_in_order_are_counted(client, read):
    adata = read()
    with scanpy_oom.engine(client):
        read_in_order = pass_over(adata, GroupWelford(np.arange(5000) % 3, 3))
        pass_over(other := read())
        assert read_in_order == last_pass().bytes_read
        assert [share.n_rows for share in last_pass().workers] == [2560, 2440]
        assert sum(share.bytes_read for share in last_pass().workers) == read_in_order
        assert pass_over(other) == 0


def test_after_rows_are_removed_only_what_is_missing_is_read(client, read):
    adata = read()
    with scanpy_oom.engine(client):
        first = pass_over(adata)
        fewer = adata[100:4900].copy()
        assert pass_over(fewer) <= first // 10  # rows that have moved to the other worker
        assert pass_over(fewer) == 0


def test_rows_that_were_not_read_before_are_read_and_the_others_are_not(client, read):
    adata = read()
    with scanpy_oom.engine(client):
        whole = pass_over(read())
        half = adata[:2500].copy()
        assert pass_over(half) < 0.7 * whole
        rest = pass_over(adata)
        assert 0.3 * whole < rest < 0.9 * whole


def test_few_columns_that_will_be_read_again_leave_a_copy_of_their_own(client, tmp_path):
    annotated(counts(2000, 900)).write_h5ad(tmp_path / "wide.h5ad", compression="gzip")
    adata = sc.read_h5ad(tmp_path / "wide.h5ad", backed="oom")
    shown = adata.X.select(None, np.arange(0, 900, 3))
    right = np.ones((300, 2))
    with scanpy_oom.engine(client):
        run([Request(shown, [RightProduct(right)])], reuse=True)
        assert last_pass().bytes_read > 0
        before = kept(client, adata)
        run([Request(shown, [RightProduct(right)])], reuse=True)
        assert last_pass().bytes_read == 0
    assert kept(client, adata) == before


def test_copies_go_with_the_anndata(client, read):
    adata, other = read(), read()
    with scanpy_oom.engine(client):
        pass_over(adata)
        name = token(adata.X.source)
        assert len(kept(client, adata)) == 2
        del adata
        gc.collect()
        pass_over(other)
    assert all(name not in found for found in client.run(copies, client.id).values())
    assert len(kept(client, other)) == 2


def test_copies_go_with_the_client(cluster, read):
    with Client(cluster, set_as_default=False) as client, scanpy_oom.engine(client):
        pass_over(read())
        name = client.id
        assert all(map(len, client.run(copies, name).values()))
    with Client(cluster, set_as_default=False) as other:
        end = time.monotonic() + 10
        while any(found := other.run(copies, name).values()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(found)


def test_without_a_cache_no_copies_are_left(client, read):
    settings.cache = "off"
    adata = read()
    with scanpy_oom.engine(client):
        assert all(pass_over(adata) > 0 for _ in range(2))
    assert kept(client, adata) == []


def test_a_pass_that_has_begun_before_does_not_take_the_copies_of_a_later_one_away(client, read):
    """As where two threads of the client read two files."""
    from scanpy_oom.engine.cluster.payload import Payload, packed, pieces

    def payload(adata):
        request = Request(adata.X, [AxisStatistics()])
        how = {"cache": True, "reuse": False, "memory_limit": None, "client": ("elsewhere", 1)}
        return list(pieces(Payload(*packed([request]), **how)))

    first, later = read(), read()
    parts = payload(first)  # when nobody knows of the other file
    later_parts = payload(later)
    worker = next(iter(client.nthreads()))
    with scanpy_oom.engine(client):
        pass_over(later)

    def open_both(one, other):
        from scanpy_oom.engine.cluster.payload import joined
        from scanpy_oom.engine.cluster.session import begun

        _, shard, _ = begun(client_id, joined(other))
        begun(client_id, joined(one))
        return shard.n_copies, shard.source.bytes_read >= 0, shard.source.check_open()

    client_id = client.id
    n_copies, *_ = client.submit(open_both, parts, later_parts, workers=[worker], pure=False).result()
    assert n_copies > 0
    assert worker in {address for address, found in client.run(copies, client.id).items() if found}


def test_what_dask_writes_to_disk_to_save_memory_is_not_the_copies(cluster, read):
    with Client(cluster, set_as_default=False) as client, scanpy_oom.engine(client):
        adata = read()
        pass_over(adata)
        before = kept(client, adata)
        for on_disk in client.run(evict_session, client.id).values():
            assert any(client.id in key for key in on_disk)
        assert kept(client, adata) == before
        assert pass_over(adata) == 0


def test_a_limit_that_the_user_sets_later_holds_on_the_workers_too(cluster, read):
    with Client(cluster, set_as_default=False) as client, scanpy_oom.engine(client):
        for limit in (800_000_000, 700_000_000):
            settings.memory_limit = limit
            pass_over(read())
            assert set(client.run(memory_limit).values()) == {limit}
        settings.memory_limit = None
        pass_over(read())
        assert all(limit > 800_000_000 for limit in client.run(memory_limit).values())


def test_a_worker_within_the_client_leaves_its_settings_alone(one, read):
    settings.memory_limit = 777_000_000
    with scanpy_oom.engine(one):
        compute(read().X, AxisStatistics())
    assert settings.memory_limit == 777_000_000
    settings.memory_limit = None
    with scanpy_oom.engine(one):
        compute(read().X, AxisStatistics())
    assert not settings.limits_memory


def test_a_worker_has_one_session_for_a_client(client, read):
    with scanpy_oom.engine(client):
        pass_over(read())
    found = [
        client.submit(open_session, client.id, None, ("elsewhere", 1), pure=False, workers=[worker])
        for worker in client.nthreads()
    ]
    client.gather([client.submit(type, future) for future in found])
    assert set(client.run(lambda name: len(sessions(name)), client.id).values()) == {1}


@pytest.mark.parametrize("how", ["gone", "another", "damaged"])
def test_a_file_that_a_worker_cannot_open_is_named_with_the_worker(client, tmp_path, how):
    path = Path(tmp_path / "a.h5ad")
    annotated(counts(300, 20)).write_h5ad(path, compression="gzip")
    adata = sc.read_h5ad(path, backed="oom")
    source = adata.X.source
    worker = next(iter(client.nthreads()))

    def open_there(content):
        from scanpy_oom.engine.cluster.session import _opened

        return _opened(content).shape

    import cloudpickle

    content = cloudpickle.dumps(source)
    path.unlink()
    if how == "another":
        annotated(counts(30, 20)).write_h5ad(path, compression="gzip")
    if how == "damaged":
        path.write_bytes(b"no file of ours")
    with pytest.raises(OOMError, match=r"a\.h5ad") as error:
        client.submit(open_there, content, workers=[worker], pure=False).result()
    if how == "gone":
        assert worker in str(error.value)
        assert "same paths" in str(error.value)
        assert "settings.engine = 'threads'" in str(error.value)
