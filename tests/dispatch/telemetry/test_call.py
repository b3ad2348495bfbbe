"""What calls take."""

from __future__ import annotations

import pytest

from scanpy_oom.dispatch.telemetry.call import Measurement, is_counted_already

from ...interrupts import CAN_INTERRUPT, interrupted


@pytest.mark.skipif(not CAN_INTERRUPT, reason="no timer raises signals here")
def test_no_interrupt_leaves_a_call_that_runs_for_ever() -> None:
    def call() -> None:
        one = Measurement("pp.log1p", "materialised")
        with one.running, one:
            assert is_counted_already()

    def check() -> None:
        assert not is_counted_already()

    interrupted(call, check)


def test_a_call_within_one_that_was_torn_off_has_the_caller_of_that_one() -> None:
    outer, torn, inner = (Measurement(name, "materialised") for name in ("outer", "torn", "inner"))
    with outer.running, outer:
        torn.__enter__()
        with inner.running, inner:
            assert inner._caller is outer
