from __future__ import annotations

from typing import Any

import numpy as np

from scanpy_oom.engine.compute import compute
from scanpy_oom.engine.explain import plan
from scanpy_oom.engine.explain.plan import planned
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.reductions import AxisStatistics, ClassSums, ColumnMeans, GroupMoments

from ...matrices import counts, oom

X = oom(counts(30, 5))
MEANS = ColumnMeans(np.dtype(np.float64))


def names(of: plan.Plan) -> list[str]:
    return [type(reduction).__name__ for step in of.steps for r in step.requests for reduction in r.reductions]


def test_a_plan_ends_with_the_first_pass_whose_results_decide_and_makes_none():
    def function() -> None:
        compute(X, MEANS, assume=plan.of_no_rows)
        compute(X, AxisStatistics())
        compute(X, ClassSums())

    before = pass_log.totals().passes
    assert names(planned(function)) == ["ColumnMeans", "AxisStatistics"]
    assert pass_log.totals().passes == before


def test_results_of_no_rows_have_the_shape_of_those_of_some():
    codes = np.zeros(30, dtype=np.int64)
    found: list[Any] = []
    for reduction in (MEANS, AxisStatistics(), GroupMoments(codes, 2)):
        planned(lambda r=reduction: found.append(compute(X, r, assume=plan.of_no_rows)))
    means, statistics, moments = found
    assert means.shape == (5,)
    assert {name: values.size for name, values in statistics.known.items()} == {
        name: values.size for name, values in compute(X, AxisStatistics()).known.items()
    }
    assert moments.total.shape == (2, 5)


def test_what_is_assumed_takes_the_place_of_what_is_found():
    seen: list[int] = []

    def function() -> None:
        seen.append(plan.or_assume(lambda: compute(X, MEANS).size, lambda: 7))
        compute(X, ClassSums())

    assert names(planned(function)) == ["ColumnMeans", "ClassSums"]
    function()
    assert seen == [7, 5]


def test_an_end_is_the_end_of_the_part_that_it_is_in():
    def part() -> int:
        compute(X, MEANS, assume=plan.of_no_rows)
        plan.end()
        return compute(X, ClassSums())

    def function() -> None:
        plan.or_assume(part, lambda: 0)
        compute(X, AxisStatistics())

    assert names(planned(function)) == ["ColumnMeans", "AxisStatistics"]


def test_reasons_depend_on_passes_and_the_last_one_holds():
    def function(n: int) -> None:
        plan.reason("an earlier one")
        plan.reason("some", if_none="none")
        plan.results(3)
        plan.results(4)
        for _ in range(n):
            compute(X, MEANS)

    for n, reason in enumerate(("none", "some")):
        made = planned(lambda n=n: function(n))
        assert (made.reason, made.results) == (reason, 7)
    assert planned(lambda: plan.reason("either")).reason == "either"


def test_without_a_plan_nothing_of_it_does_anything():
    assert not plan.is_made()
    plan.reason("some")
    plan.results(3)
    plan.end()
    assert plan.or_assume(lambda: 1, lambda: 2) == 1
    assert planned(plan.is_made).steps == []
