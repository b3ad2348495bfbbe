from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.engine.cluster.row_totals import FoundTotals
from scanpy_oom.engine.cluster.runs import Outcome, Run, n_moves, places, runs_of
from scanpy_oom.engine.partition import LONGEST_LARGE_TASK, LONGEST_TASK, Partition
from scanpy_oom.engine.reader import SourceReader
from scanpy_oom.matrix.selection import Selection
from scanpy_oom.storage.sources.memory import MemorySource

from ...matrices import counts


def groups(n_rows: int, nbytes: int = 0) -> list[list[tuple[int, int]]]:
    shape = n_rows, 4
    source = MemorySource(counts(min(n_rows, 50_000), 4))
    return Partition(SourceReader(source), Selection(None, None, shape), 1).groups(nbytes)


@given(n_rows=st.integers(1, 40_000), n_slots=st.integers(1, 200), single=st.booleans(), large=st.booleans())
def test_runs_hold_each_task_once_in_order_and_none_reaches_into_another_group(n_rows, n_slots, single, large):
    cut = groups(n_rows, 2**30 if large else 0)
    runs = runs_of(cut, n_slots, single=single)
    assert [[task for run in group for task in run.tasks] for group in runs] == cut
    flat = [run for group in runs for run in group]
    assert [run.number for run in flat] == list(range(len(flat)))
    assert [run.is_last for run in flat] == [False] * (len(flat) - 1) + [True]
    assert flat[0].span[0] == 0
    assert flat[-1].span[1] == n_rows
    if single:
        assert all(len(run.tasks) == 1 for run in flat)


@pytest.mark.parametrize("nbytes", [0, 2**30])
def test_passes_over_many_rows_have_more_tasks_for_more_machines(nbytes):
    longest = LONGEST_LARGE_TASK if nbytes else LONGEST_TASK
    for n_rows in (1_000_000, 10_000_000, 100_000_001):
        tasks = [task for group in groups(n_rows, nbytes) for task in group]
        assert max(stop - start for start, stop in tasks) <= longest
        assert len(tasks) >= (16 if nbytes else 64)
        assert [start for start, _ in tasks[1:]] == [stop for _, stop in tasks[:-1]]
        assert (tasks[0][0], tasks[-1][1]) == (0, n_rows)


def test_groups_are_cut_further_where_threads_would_have_nothing_to_do():
    cut = groups(64 * 300)
    assert [len(group) for group in cut] == [8] * 8
    assert [sum(map(len, runs_of(cut, n_slots))) for n_slots in (4, 3, 16)] == [8, 64, 64]


@given(n_runs=st.integers(1, 300), threads=st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_neighbouring_runs_go_to_one_worker_in_proportion_to_its_threads(n_runs, threads):
    workers = {f"tcp://w{k}:1": n for k, n in enumerate(threads)}
    where = places(n_runs, workers)
    assert len(where) == n_runs
    order = [list(workers).index(place) for place in where]
    assert order == sorted(order)
    for address, n in workers.items():
        assert abs(where.count(address) - n_runs * n / sum(threads)) <= 1


@pytest.mark.parametrize(
    "how, n",
    [
        ({"in_order": False, "goes_here": False}, 1 + 1 + 1),  # a run of the second group, that group, and the total
        ({"in_order": True, "goes_here": False}, 1 + 1),  # from the first worker to the second, and the total
        ({"in_order": False, "goes_here": True}, 6),
    ],
)
def test_results_move_where_they_are_merged_elsewhere(how, n):
    a, b, c = ([Run(k, ((k, k + 1),)) for k in numbers] for numbers in ([0, 1], [2, 3], [4, 5]))
    assert n_moves([a, b, c], ["x", "x", "x", "y", "y", "y"], **how) == n


def test_the_size_of_an_outcome_is_that_of_its_arrays():
    run = Run(0, ((0, 10),))
    arrays = [np.zeros(1000), np.zeros(500)]
    totals = [FoundTotals(0, np.zeros(500, dtype=np.intp), arrays[1])]
    outcome = Outcome(run, [[arrays[0], (arrays[1], [arrays[1]])], [None]], [arrays[0]], totals)
    expected = 2 * arrays[0].nbytes + 4 * arrays[1].nbytes
    assert expected <= sys.getsizeof(outcome) <= expected + 1000
