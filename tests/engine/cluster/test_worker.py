"""Tasks of workers, one by one."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

import scanpy_oom
from scanpy_oom.engine.cluster.payload import Payload, packed, pieces
from scanpy_oom.engine.cluster.row_totals import missing
from scanpy_oom.engine.cluster.runs import Run
from scanpy_oom.engine.cluster.worker import merge, part, partials_of, read_ahead, rows_of, work
from scanpy_oom.engine.compute import compute
from scanpy_oom.engine.request import Request
from scanpy_oom.matrix.transforms import NormalizeTotal, RowTotals
from scanpy_oom.reductions import AxisStatistics, GroupRanks, GroupWelford
from scanpy_oom.settings import settings

from .results import assert_same_bits

TASKS = [(0, 1000), (1000, 2500), (2500, 5000)]
RUNS = [Run(k, (task,), is_last=k == 2) for k, task in enumerate(TASKS)]


class Tasks:
    """Tasks for one payload, on workers in turn."""

    def __init__(self, client, matrix, *reductions, folder=None):
        request = Request(matrix, reductions)
        how = {
            "cache": True,
            "reuse": False,
            "memory_limit": None,
            "client": ("elsewhere", 1),
            "missing": missing([request]),
        }
        payload = Payload(*packed([request]), **how, folder=None if folder is None else str(folder))
        self.parts, self.client, self._alive = list(pieces(payload)), client, matrix

    def of(self, function, *arguments, worker: int = 0):
        address = sorted(self.client.nthreads())[worker]
        task = self.client.submit(function, self.client.id, self.parts, *arguments, workers=[address], pure=False)
        return task.result()


def test_a_run_brings_back_its_rows_its_totals_and_what_it_took(client, read):
    x = read().X
    totals = RowTotals(np.full(5000, np.nan), np.empty(0, dtype=bool))
    tasks = Tasks(client, x.transform(NormalizeTotal(totals, 10.0)), AxisStatistics())
    outcome = tasks.of(work, RUNS[1])
    run, by_row, (found,), (note,) = rows_of(outcome)
    assert run == RUNS[1]
    assert all(rows.shape[0] == 1500 for rows in by_row)
    assert (found.number, found.rows.tolist()) == (0, list(range(1000, 2500)))
    np.testing.assert_allclose(found.values, x.to_memory()[1000:2500].sum(axis=1).A1, rtol=1e-6)
    assert note.worker == sorted(client.nthreads())[0]
    assert note.n_rows == 1500
    assert note.bytes_after > note.bytes_before
    assert min(note.n_blocks, note.seconds, note.peak_buffer, note.resident) > 0
    assert np.isnan(totals.values).all()  # those of the client are the client's


def test_outcomes_of_any_workers_are_merged_in_order_and_stay_as_they_are(client, read):
    x = read().X
    tasks = Tasks(client, x, AxisStatistics())
    outcomes = [tasks.of(work, run, worker=k % 2) for k, run in enumerate(RUNS)]
    before = [np.array(outcome.partials[0][0].moments) for outcome in outcomes]
    merged = tasks.of(merge, outcomes, worker=1)
    want = reduce(np.add, before)
    np.testing.assert_array_equal(partials_of(merged)[0][0].moments, want)
    assert tasks.of(merge, outcomes[:1]).run == outcomes[0].run
    for outcome, sums in zip(outcomes, before, strict=True):
        np.testing.assert_array_equal(outcome.partials[0][0].moments, sums)


def test_a_run_in_order_goes_on_from_the_one_before_on_another_worker(client, read):
    x, reduction = read().X, GroupWelford(np.arange(5000) % 3, 3)
    want = compute(x, GroupWelford(np.arange(5000) % 3, 3))
    tasks, before = Tasks(client, x, reduction), None
    for k, run in enumerate(RUNS):
        before = tasks.of(work, run, before, worker=k % 2)
    reduction.prepare(x)
    assert_same_bits([reduction.result(reduction.unpack(before.partials[0][0]))], [want], [reduction])


def test_rows_that_were_read_ahead_are_not_read_again_and_are_counted_once(client, read):
    with scanpy_oom.engine(client):  # which has workers keep what they read
        compute(read().X, AxisStatistics())
    tasks = Tasks(client, read().X, GroupWelford(np.arange(5000) % 3, 3))
    ahead = tasks.of(read_ahead, RUNS[0])
    outcome = tasks.of(work, RUNS[0], None, ahead)
    first, then = outcome.notes
    assert first == ahead
    assert first.bytes_after > first.bytes_before
    assert then.bytes_after == then.bytes_before
    assert (first.n_rows, then.n_rows) == (0, 1000)


@pytest.mark.parametrize("n_groups", [2, 5])
def test_parts_of_a_result_are_computed_from_what_all_workers_have_written(client, read, tmp_path, n_groups):
    settings.memory_limit = 10**9
    x, codes = read().X, np.arange(5000) % n_groups
    want = compute(x, GroupRanks(codes, n_groups))
    reduction = GroupRanks(codes, n_groups)
    tasks = Tasks(client, x, reduction, folder=tmp_path)
    outcomes = [tasks.of(work, run, worker=k % 2) for k, run in enumerate(RUNS)]
    assert len({path.name.split(".")[0] for path in tmp_path.iterdir()}) == 3
    merged = tasks.of(merge, outcomes)
    reduction.prepare(x)
    total = reduction.unpack(merged.partials[0][0])
    found = [(k, tasks.of(part, (0, 0), merged.partials[0][0], k)) for k in range(reduction.n_parts(total))]
    assert_same_bits([reduction.put_together(total, reversed(found))], [want], [reduction])
