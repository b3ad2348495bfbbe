"""A pass over a run of rows gives what the tasks of the run give."""

from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.engine.budget import LIBRARIES
from scanpy_oom.engine.cluster.runs import Run
from scanpy_oom.engine.cluster.shard import Shard
from scanpy_oom.engine.cluster.shard_pass import ShardPass
from scanpy_oom.engine.compute import compute
from scanpy_oom.engine.request import CachePolicy, Request
from scanpy_oom.engine.thread_pass import of_each
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.reductions import AxisStatistics, GroupMoments, GroupWelford, SetSums
from scanpy_oom.settings import settings

from .results import assert_same_bits

KEEP = CachePolicy(cache=True, reuse=False)


def over(matrix, asked, run: Run, shard: Shard, policy: CachePolicy = KEEP, n_beside: int = 1) -> ShardPass:
    return ShardPass([Request(matrix, asked)], policy, run, shard, n_beside)


def runs(n_rows: int, size: int = 2500) -> list[Run]:
    starts = range(0, n_rows, size)
    tasks = [[(a, min(a + 250, n_rows)) for a in range(start, min(start + size, n_rows), 250)] for start in starts]
    return [Run(k, tuple(some), is_last=k == len(tasks) - 1) for k, some in enumerate(tasks)]


@pytest.mark.parametrize("rows", [None, "shuffled", "repeated"])
def test_runs_write_their_rows_and_no_others(read, rows):
    rng = np.random.default_rng(0)
    chosen = {None: None, "shuffled": rng.permutation(5000), "repeated": rng.integers(0, 5000, 5000)}[rows]
    x = read().X.transform(Elementwise("log1p")).select(chosen)
    member = rng.random((80, 3)) < 0.5
    want = compute(x, SetSums(member))
    shard, found = Shard(x.source), np.full((5000, 3), np.nan)
    for run in runs(5000, 1250):
        this = over(x, [SetSums(member)], run, shard)
        assert of_each(this.requests, "unpack", this.compute(None))[0][0].shape == (5000, 3)
        (written,) = this.by_row()
        positions = this.partition.positions(*run.span)
        assert np.isnan(found[positions]).all()
        found[positions] = written
    np.testing.assert_array_equal(found, want)


def test_runs_in_order_go_on_where_the_one_before_has_ended_and_change_nothing_of_it(read):
    x, codes = read().X, np.arange(5000) % 3
    asked = lambda: [GroupWelford(codes, 3), GroupMoments(codes, 3)]
    want = compute(x, *asked())
    shard, before = Shard(x.source), None
    for run in runs(5000):
        this = over(x, asked(), run, shard)
        kept = None if before is None else [np.array(part) for part in before[0][0]]
        found = this.compute(before)
        if before is not None:
            for a, b in zip(before[0][0], kept, strict=True):
                np.testing.assert_array_equal(a, b)
        before = found
    totals = of_each(this.requests, "unpack", before)
    assert_same_bits(of_each(this.requests, "result", totals)[0], want, asked())


def test_each_run_leaves_a_copy_of_its_rows_and_the_next_pass_reads_nothing(read):
    x = read().X
    shard = Shard(x.source)
    for run in runs(5000):
        over(x, [AxisStatistics()], run, shard).compute(None)
    assert shard.n_copies == 2
    before = x.source.bytes_read
    for run in runs(5000):
        this = over(x, [AxisStatistics()], run, shard)
        this.compute(None)
        assert this.n_blocks >= len(run.tasks)
    assert x.source.bytes_read == before


class Failing(AxisStatistics):
    def update(self, partial, block):
        msg = "planted"
        raise RuntimeError(msg)


def test_a_run_that_fails_leaves_no_copy_and_gives_memory_back(read):
    x = read().X
    shard = Shard(x.source)
    with pytest.raises(RuntimeError, match="planted"):
        over(x, [Failing()], runs(5000)[0], shard).compute(None)
    assert shard.n_copies == 0
    assert not ACCOUNTANT.held.keys() & {"blocks", "partial results", "copies"}


def test_runs_beside_each_other_share_the_limit(read):
    x = read().X
    x.source.row_offsets()
    settings.memory_limit = LIBRARIES + ACCOUNTANT.in_use + 16 * 10**6
    shard, run = Shard(x.source), runs(5000)[0]
    alone, beside = (over(x, [AxisStatistics()], run, shard, n_beside=n).share for n in (1, 4))
    assert alone.n_threads == beside.n_threads == 1
    assert alone.entries == pytest.approx(4 * beside.entries, rel=0.01)
