"""Plans: the passes that a function would make, found by running it with an executor that makes none.

The function states its passes once, where it asks for them. Beside them it says here what becomes of a plan where
values decide what comes next. Where no plan is made, none of this does anything.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..abc import Executor
from ..compute import executing, executor_in_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..request import Request, Results, Step

    T = TypeVar("T")

__all__ = ["Plan", "end", "is_made", "of_no_rows", "or_assume", "planned", "reason", "results"]


class _PlanEnds(BaseException):
    """Nothing more can be planned, or need be."""


class Plan(Executor):
    """An executor that takes note of the passes that it is asked for.

    Attributes
    ----------
    steps
        The passes, in order.
    reason
        Why there are none, or why it takes these, as a clause.
    results
        Bytes of what is left with the user.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.results = 0
        self._reason = self._if_none = ""

    @property
    def reason(self) -> str:
        return self._reason if self.steps else self._if_none

    def explain(self, reason: str, if_none: str) -> None:
        """Take note of the reason; a later one replaces it."""
        self._reason, self._if_none = reason, if_none

    def run(self, step: Step) -> Results:
        """Take note of a pass; go on with the results that are assumed, or end the plan."""
        self.steps.append(step)
        if step.assume is None:
            raise _PlanEnds
        return step.assume(step.requests)


def planned(function: Callable[[], object]) -> Plan:
    """Return the passes that a function would make. What it changes is for the caller to throw away."""
    plan = Plan()
    with executing(plan), suppress(_PlanEnds), np.errstate(all="ignore"):  # what is assumed may be zeros
        function()
    return plan


def _current() -> Plan | None:
    now = executor_in_place()
    return now if isinstance(now, Plan) else None


def is_made() -> bool:
    """Return whether a plan is made: then there are no values."""
    return _current() is not None


def reason(why: str, *, if_none: str | None = None) -> None:
    """Give the reason for the passes of a plan, as a clause; and another for there being none."""
    if (plan := _current()) is not None:
        plan.explain(why, why if if_none is None else if_none)


def results(nbytes: int) -> None:
    """Add to the bytes that a plan says will be left with the user."""
    if (plan := _current()) is not None:
        plan.results += nbytes


def end() -> None:
    """End a plan where no pass follows that it could tell of."""
    if is_made():
        raise _PlanEnds


def or_assume(function: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """Return what a function finds. A plan takes note of its passes, and goes on with something else."""
    if not is_made():
        return function()
    with suppress(_PlanEnds):
        function()
    return otherwise()


def of_no_rows(requests: Sequence[Request]) -> Results:
    """Return what requests give where there are no rows: results of the right shape, with which a plan goes on."""
    for request in requests:
        for reduction in request.reductions:
            reduction.check_room(request.matrix)
            reduction.prepare(request.matrix)
    return [[reduction.result(reduction.partial()) for reduction in request.reductions] for request in requests]
