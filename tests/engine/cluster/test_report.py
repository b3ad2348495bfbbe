"""What users are told of workers: before a call, in the log of passes, and in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom.engine.compute import compute, executor
from scanpy_oom.engine.request import Request, Step
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca
from scanpy_oom.reductions import AxisStatistics, CollectSparse, Gram, GroupMoments, GroupWelford
from scanpy_oom.reductions.collect import CollectDense
from scanpy_oom.settings import settings

from ...matrices import annotated, counts
from .results import last_pass

WIDE = 2100
"""Columns of which the Gram matrix takes 18 MB."""


def test_the_log_tells_what_each_worker_has_done(client, read):
    x = read().X
    with scanpy_oom.engine(client):
        compute(x, AxisStatistics())
    record = last_pass()
    assert record.location == "values.h5ad:/X"
    assert record.n_rows == sum(share.n_rows for share in record.workers) == 5000
    assert record.bytes_read == sum(share.bytes_read for share in record.workers)
    assert {share.worker for share in record.workers} == set(client.nthreads())
    assert record.n_blocks >= 20
    assert record.peak_buffer > 0
    for share in record.workers:
        assert share.seconds > 0
        assert share.resident > 10**7


def reported(read, engine) -> tuple[str, str]:
    """The report of a call, as text and as a page."""
    scanpy_oom.report(clear=True)
    with scanpy_oom.engine(engine):
        sc.pp.calculate_qc_metrics(read(), percent_top=[5], inplace=True)
    report = scanpy_oom.report(clear=True)
    return str(report), report._repr_html_()


def test_the_report_has_a_row_for_each_worker_as_text_and_as_a_page(client, read):
    text, page = reported(read, client)
    (head,) = [line for line in text.splitlines() if "resident memory" in line]
    assert head.split() == ["worker", "rows", "read", "seconds", "resident", "memory"]
    for address in client.nthreads():
        assert sum(address in line for line in text.splitlines()) == 1
        assert page.count(address) == 1
    assert "<h2>Workers</h2>" in page


def test_a_report_of_passes_on_threads_tells_of_no_workers(read):
    text, page = reported(read, "threads")
    assert "resident memory" not in text
    assert "<h2>Workers</h2>" not in page


def test_explain_tells_of_workers_tasks_and_bytes_and_of_what_stays_here(client, tmp_path, monkeypatch):
    monkeypatch.setattr(_pca, "SMALL", 0)
    annotated(counts(3000, 120)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    sc.pp.log1p(adata)
    alone = str(adata.oom.explain("pca", n_comps=5))
    with scanpy_oom.engine(client):
        explanation = adata.oom.explain("pca", n_comps=5)
        few = adata[:, :9].copy().oom.explain("pca", n_comps=5)
    assert "Dask" not in alone
    planned = explanation.passes[0].distribution
    assert planned.engine == "2 Dask workers"
    assert planned.n_tasks == 2
    text = str(explanation)
    assert f"{explanation.n_passes} passes on 2 Dask workers: " in text
    assert "sent between processes" in text
    assert "sent between processes" in explanation._repr_html_()
    assert "in this process, for few columns: " in str(few)
    with scanpy_oom.engine(client):
        before = last_pass()
        adata.oom.explain("pca", n_comps=5)
        assert last_pass() is before  # nothing is computed
        sc.pp.pca(adata, n_comps=5)
    assert last_pass().device == "2 Dask workers"


@contextlib.contextmanager
def bytes_sent(found: list[int]) -> Iterator[None]:
    """Add the bytes that go by way of this machine's own network meanwhile."""
    before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    yield
    found.append(psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Callable[[], OOMMatrix]:
    path = tmp_path_factory.mktemp("wide") / "wide.h5ad"
    annotated(counts(4000, WIDE, density=0.05)).write_h5ad(path)
    return lambda: sc.read_h5ad(path, backed="oom").X


CODES = np.arange(4000) % 200

LARGE_RESULTS = {
    "merged": lambda: [Gram()],
    "merged by group": lambda: [GroupMoments(CODES, 200)],
    "in order": lambda: [GroupWelford(CODES, 200)],
    "all values": lambda: [CollectSparse("the test")],
    "an array": lambda: [CollectDense("the test")],
}


@pytest.mark.skipif("lo" not in psutil.net_io_counters(pernic=True), reason="this machine has no network named lo")
@pytest.mark.parametrize("name", LARGE_RESULTS)
def test_the_bytes_that_a_plan_tells_are_about_those_that_are_sent(client, wide, name):
    settings.memory_limit = 2 * 10**9
    x = wide()
    with scanpy_oom.engine(client):
        compute(x, AxisStatistics())  # workers are ready
        planned = executor().distribution(Step([Request(x, LARGE_RESULTS[name]())])).moved
        found: list[int] = []
        for _ in range(3):
            with bytes_sent(found):
                compute(x, *LARGE_RESULTS[name]())
    assert last_pass().device == "2 Dask workers"
    assert planned > 3_000_000
    assert planned / 2 <= min(found) <= 2 * planned, (planned, found)  # others may send meanwhile, too
