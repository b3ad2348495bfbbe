"""The contract of engines: what an engine need not say for itself."""

from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.engine.abc import Distribution, Executor
from scanpy_oom.engine.compute import compute, executing, executor
from scanpy_oom.engine.executor import LocalExecutor
from scanpy_oom.engine.request import Request, Step
from scanpy_oom.reductions import AxisStatistics

from ..matrices import counts, oom


class Counting(Executor):
    """Makes passes in this process, and counts them."""

    def __init__(self) -> None:
        self.n_passes = 0

    def run(self, step: Step):
        self.n_passes += 1
        return LocalExecutor("a test").run(step)


def test_an_engine_must_make_passes():
    with pytest.raises(TypeError, match="run"):
        Executor()


def test_an_engine_that_says_no_more_is_taken_to_work_in_this_process():
    step = Step([Request(oom(counts(5, 3)), [AxisStatistics()])])
    assert Counting().distribution(step) is None
    assert Counting().spread(len, [], [1, 2]) is None


def test_passes_are_handed_to_the_executor_of_the_context():
    counting, x = Counting(), oom(counts(50, 8))
    with executing(counting):
        assert executor() is counting
        found = compute(x, AxisStatistics())
    assert counting.n_passes == 1
    assert executor() is not counting
    np.testing.assert_array_equal(found.known["col_sum"], compute(x, AxisStatistics()).known["col_sum"])


def test_a_pass_that_is_made_here_has_no_engine_and_a_reason():
    distribution = Distribution("", why_here="few columns")
    assert (distribution.engine, distribution.n_tasks, distribution.moved) == ("", 0, 0)
