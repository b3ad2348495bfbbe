from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom.engine.budget import BYTES_PER_ENTRY, LARGE, LIBRARIES
from scanpy_oom.engine.compute import compute, run
from scanpy_oom.engine.executor import make_pass
from scanpy_oom.engine.partition import Partition
from scanpy_oom.engine.reader import SourceReader
from scanpy_oom.engine.reduction import Reduction
from scanpy_oom.engine.request import CachePolicy, Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.reductions import AxisStatistics
from scanpy_oom.settings import settings
from scanpy_oom.storage.hdf5.open import open_source
from scanpy_oom.storage.sources.memory import MemorySource

from ..matrices import annotated, counts


@pytest.fixture
def stored(tmp_path):
    """Counts in a file of many chunks."""
    a = annotated(counts(4000, 50))
    a.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def no_worker_is_left() -> bool:
    """Whether all threads of the passes end."""
    workers = [t for t in threading.enumerate() if t.name.startswith("scanpy-oom_")]
    for worker in workers:
        worker.join(timeout=10)
    return not any(worker.is_alive() for worker in workers)


class Failing(AxisStatistics):
    def update(self, partial, block):
        if np.arange(4000)[block.positions][-1] > 2000:
            msg = "planted"
            raise RuntimeError(msg)
        super().update(partial, block)


def test_an_error_in_a_worker_reaches_the_caller_and_leaves_the_matrix_unread(stored):
    with pytest.raises(RuntimeError, match="planted"):
        run([Request(stored.X, [Failing()])])
    assert stored.X.statistics.known == {}
    assert no_worker_is_left()


class Interrupting(Reduction):
    """Sends an interrupt from the first block."""

    def prepare(self, matrix):
        pass

    def partial(self):
        return None

    sent = False

    def update(self, partial, block):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    def merge(self, total, partial):
        return None

    def result(self, total):
        return None


@pytest.fixture
def _interruptible():
    """SIGINT raises, also where whoever started the tests had it ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_stops_the_pass(stored):
    before = pass_log.totals().passes
    with pytest.raises(KeyboardInterrupt):
        run([Request(stored.X, [Interrupting()])])
    assert pass_log.totals().passes == before
    assert no_worker_is_left()


def test_a_pass_is_recorded_with_what_it_read_and_held(stored):
    before = pass_log.totals()
    stored.X.sum()
    after, last = pass_log.totals(), pass_log.recent()[-1]
    assert after.passes == before.passes + 1
    assert after.bytes_read - before.bytes_read == last.bytes_read == stored.X.source.bytes_read
    assert last.location == "a.h5ad:/X"
    assert last.reductions == ("AxisStatistics",)
    assert last.n_rows == 4000
    assert last.n_blocks >= 1
    assert 0 < last.peak_buffer < 10**8


def test_requests_of_one_pass_share_source_and_rows(stored):
    with pytest.raises(ValueError, match="share a source"):
        run([Request(stored.X, [AxisStatistics()]), Request(stored.X.select(np.arange(3)), [AxisStatistics()])])


def test_several_requests_read_once(stored):
    lazy = np.log1p(stored.X)
    results = run([Request(stored.X, [AxisStatistics()]), Request(lazy, [AxisStatistics()])])
    x = stored.to_memory().X.astype(float)
    np.testing.assert_allclose(results[0][0].known["col_sum"], np.ravel(x.sum(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(results[1][0].known["col_sum"], np.ravel(x.log1p().sum(axis=0)), rtol=1e-6)


def test_passes_of_several_threads_at_once_do_not_disturb_each_other(stored):
    want = np.ravel(stored.to_memory().X.sum(axis=0))

    def work(k):
        return np.ravel(stored[k:].X.sum(axis=0)) if k else np.ravel(stored[:, :].copy().X.sum(axis=0))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, [0, 0, 1, 0]))
    for k in (0, 1, 3):
        np.testing.assert_allclose(results[k], want, rtol=1e-6)


def test_cells_without_counts_are_reported_by_the_pass_that_finds_them_and_once(stored):
    sc.pp.filter_genes(stored, min_cells=1)  # drops a column, and with it what is known of the rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.pp.normalize_total(stored, target_sum=10)
    with pytest.warns(UserWarning, match="Some cells have zero counts"):
        stored.X.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored.X.max()


@pytest.mark.parametrize("rows", [None, np.array([5, 5, 3, 1000, 999]), np.arange(3000)[::-1]])
def test_a_plan_covers_each_row_once_in_the_order_of_the_source(rows):
    source = MemorySource(counts(3000, 20))
    matrix = OOMMatrix.from_source(source).select(rows, None)
    plan = Partition(SourceReader(source), matrix.selection, entries=500)
    blocks = [b for task in plan.tasks() for b in plan.blocks(*task)]
    n = matrix.shape[0]
    positions = np.concatenate([np.arange(n)[b.positions] for b in blocks])
    read = np.concatenate([b.source_rows for b in blocks])
    np.testing.assert_array_equal(np.sort(positions), np.arange(n))
    np.testing.assert_array_equal(read, np.arange(3000)[positions] if rows is None else rows[positions])
    assert (np.diff(read) >= 0).all()


def test_tasks_depend_on_the_number_of_rows_alone():
    source = MemorySource(counts(3000, 20))
    matrix = OOMMatrix.from_source(source)
    reader = SourceReader(source)
    assert Partition(reader, matrix.selection, 10).tasks() == Partition(reader, matrix.selection, 10**9).tasks()


class Tree(Reduction):
    """How partial results are merged, as pairs of pairs of tasks, which go by their first row."""

    def __init__(self, nbytes: int = 0) -> None:
        self._nbytes = nbytes

    def prepare(self, matrix):
        pass

    def partial(self):
        return []

    def partial_nbytes(self):
        return self._nbytes

    def update(self, partial, block):
        partial.append(block.positions.start)

    def finish(self, partial):
        return min(partial)

    def merge(self, total, partial):
        return total, partial

    def result(self, total):
        return total


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("nbytes", [0, LARGE])
@pytest.mark.parametrize("n_rows", [100, 2000, 20_000, 50_000])
def test_partial_results_are_merged_within_groups_of_tasks_and_then_group_by_group(n_rows, nbytes, n_threads):
    settings.n_threads, settings.memory_limit = n_threads, 10**9
    matrix = OOMMatrix.from_source(MemorySource(sparse.csr_matrix(np.ones((n_rows, 1)))))
    groups = Partition(SourceReader(matrix.source), matrix.selection, 1).groups(nbytes)
    assert all(len(group) <= (8 if nbytes < LARGE else 4) for group in groups)
    firsts = [[first for first, _ in group] for group in groups]

    def pair(a, b):
        return a, b

    assert compute(matrix, Tree(nbytes)) == reduce(pair, (reduce(pair, group) for group in firsts))


def test_sums_are_those_of_groups_of_tasks(stored):
    values = np.log1p(stored.to_memory().X.astype(np.float32))
    values.data *= (10.0 ** np.random.default_rng(0).normal(0, 3, values.nnz)).astype(np.float32)
    matrix = OOMMatrix.from_source(MemorySource(values))
    groups = Partition(SourceReader(matrix.source), matrix.selection, 1).groups()
    assert [len(group) for group in groups] == [8, 8]

    def of_task(start, stop):
        return compute(OOMMatrix.from_source(MemorySource(values[start:stop])), AxisStatistics()).known["col_sum"]

    want = reduce(np.add, (reduce(np.add, (of_task(*task) for task in group)) for group in groups))
    np.testing.assert_array_equal(compute(matrix, AxisStatistics()).known["col_sum"], want)
    assert (reduce(np.add, (of_task(*task) for group in groups for task in group)) != want).any()


def test_an_empty_selection_reads_nothing_and_gives_zeros(stored):
    empty = stored[[], :].copy()
    assert empty.X.sum() == 0
    assert empty.X.to_memory().shape == (0, 50)
    offsets_alone = stored.X.source.bytes_read
    stored.X.sum()
    assert stored.X.source.bytes_read > 5 * offsets_alone


def test_fewer_threads_or_less_memory_than_usual_give_the_same(stored, monkeypatch):
    want = np.asarray(stored.X.sum(axis=1))
    stored.X.statistics.known.clear()
    monkeypatch.setattr(settings, "_n_threads", 1)
    monkeypatch.setattr(settings, "_memory_limit", LIBRARIES + ACCOUNTANT.in_use + 10**6)
    np.testing.assert_array_equal(np.asarray(stored.X.sum(axis=1)), want)


def test_a_forked_process_reads_on(stored):
    want = float(stored.X.sum())
    stored.X.statistics.known.clear()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, str(float(stored.X.sum())).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert float(os.read(read, 100)) == want


@pytest.mark.parametrize("rows", [[0, 5, 5, 5, 5, 5], [2, 3, 4], [7], [9, 9], [3, 2, 1], [0, 2, 2]])
def test_rows_that_are_repeated_or_skipped_are_no_run_of_rows(rows):
    x = counts(12, 8)
    matrix = OOMMatrix.from_source(MemorySource(x)).select(np.array(rows), None)
    np.testing.assert_array_equal(matrix.to_memory().toarray(), x[rows].toarray())


def test_the_longest_row_is_accounted_for(tmp_path, monkeypatch):
    rows = counts(30, 40)
    path = tmp_path / "long.h5ad"
    ad.AnnData(rows).write_h5ad(path)
    n = 2_000_000  # entries of the last row, which are stored for few places
    with h5py.File(path, "a") as h5:
        for key in ("data", "indices"):
            kept = h5["X"][key][:]
            del h5["X"][key]
            stored = h5["X"].create_dataset(key, (kept.size + n,), kept.dtype, chunks=(10**5,), compression="gzip")
            stored[: kept.size] = kept
        h5["X/indptr"][-1] += n
    matrix = OOMMatrix.from_source(open_source(path))
    monkeypatch.setattr(settings, "_n_threads", 4)
    longest = int(np.diff(matrix.source.row_offsets()).max())
    needed = LIBRARIES + longest * BYTES_PER_ENTRY
    with monkeypatch.context() as patch:
        patch.setattr(settings, "_memory_limit", needed - 10**6)
        with pytest.raises(MemoryBudgetExceeded, match=r"/X, of which one row stores 2,.* needs at least"):
            matrix.sum(axis=1)
        shorter = matrix.select(np.arange(29), None)
        np.testing.assert_array_equal(np.ravel(shorter.sum(axis=1)), np.ravel(rows[:29].sum(axis=1)))
    monkeypatch.setattr(settings, "_memory_limit", needed + 10**6)
    this = make_pass([Request(matrix, [AxisStatistics()])], CachePolicy(cache=False, reuse=False))
    assert this.share.n_threads > 1
    this.run()
    assert (this.share.n_threads, this.share.entries) == (1, longest)
    np.testing.assert_array_equal(np.ravel(matrix.sum(axis=1)), np.ravel(rows.sum(axis=1)))
