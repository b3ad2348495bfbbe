from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from scanpy_oom.engine.compute import compute, executing, executor, run
from scanpy_oom.engine.request import Request, Step
from scanpy_oom.reductions import AxisStatistics, ClassSums, ColumnMeans

from ..matrices import counts, oom


class Counting:
    """Counts passes, and has another executor make them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._below = executor()

    def run(self, step: Step) -> list[list[Any]]:
        self.steps.append(step)
        return self._below.run(step)


def test_one_reduction_gives_its_result_and_several_give_a_list():
    values = counts(30, 5)
    x = oom(values)
    means = compute(x, ColumnMeans(np.dtype(np.float64)))
    np.testing.assert_allclose(means, values.toarray().mean(axis=0))
    statistics, sums = compute(x, AxisStatistics(), ClassSums())
    np.testing.assert_array_equal(statistics.known["col_sum"], sums.sum(axis=0))


def test_passes_go_to_the_executor_of_the_moment_in_this_thread():
    x, here, counting = oom(counts(30, 5)), executor(), Counting()
    with executing(counting):
        mean = compute(x, ColumnMeans(np.dtype(np.float64)), reuse=True)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(executor).result() is here
        x.sum()
    assert executor() is here
    assert [step.reuse for step in counting.steps] == [True, False]
    np.testing.assert_array_equal(mean, compute(x, ColumnMeans(np.dtype(np.float64))))
    assert len(counting.steps) == 2


def test_an_error_puts_the_executor_back():
    here = executor()
    with pytest.raises(KeyError), executing(Counting()):
        raise KeyError
    assert executor() is here


def test_matrices_of_one_pass_share_their_source():
    requests = [Request(oom(counts(9, 3)), [ClassSums()]) for _ in range(2)]
    with pytest.raises(ValueError, match="share a source"):
        run(requests)
