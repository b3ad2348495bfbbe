"""Steps in one compiled loop give what NumPy's ufuncs give, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.engine.compiled_steps import ColumnSteps
from scanpy_oom.matrix.transforms.instruction import Call
from scanpy_oom.matrix.transforms.program import Program

N_COLUMNS = 7
VALUES = st.floats(width=32) | st.floats(allow_nan=False) | st.sampled_from([0.0, np.inf, np.nan, 3.0, 0.1])


def vector(draw, dtype):
    values = draw(st.lists(VALUES, min_size=N_COLUMNS, max_size=N_COLUMNS))
    with np.errstate(over="ignore"):
        return np.array(values).astype(dtype)


@st.composite
def instructions(draw):
    ufunc = draw(st.sampled_from(["subtract", "divide", "minimum", "maximum", "fmin"]))
    single = draw(st.booleans())
    if draw(st.booleans()):
        return Call(ufunc, column=vector(draw, draw(st.sampled_from(["f2", "f4", "f8"]))), single=single)
    number = draw(st.floats(-100, 100))
    kind = draw(st.sampled_from([float, int, np.float16, np.float32, np.float64, np.int64, np.int8]))
    return Call(ufunc, scalar=kind(number), single=single)


@given(st.data(), st.lists(instructions(), min_size=1, max_size=4), st.booleans())
def test_steps_give_what_ufuncs_give(data, steps, single):
    head = Call("positive", single=single)
    compiled = ColumnSteps.of(steps, N_COLUMNS, single=single)
    if compiled is None:
        return
    values = np.array(data.draw(st.lists(VALUES, max_size=20)))
    if single:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).astype(np.float64)
    indices = (np.arange(values.size) * 3 % N_COLUMNS).astype(np.int32)
    program = Program((head, *steps), single).for_rows(slice(0, 1), np.array([0]))
    want = program.run(values, np.zeros(values.size, dtype=int), indices)
    compiled.run(values, indices)
    np.testing.assert_array_equal(values, want)


COLUMN = np.ones(N_COLUMNS)


@pytest.mark.parametrize(
    "instruction",
    [
        Call("multiply", column=COLUMN),
        Call("divide", row=np.ones(3)),
        Call("divide", column=COLUMN, only_rows=np.ones(3, dtype=bool)),
        Call("subtract", column=COLUMN, reflected=True),
        Call("divide", column=COLUMN, given=(np.dtype("float16"),)),
        Call("divide", column=COLUMN.astype(complex)),
        Call("log1p"),
    ],
    ids=["ufunc", "by row", "some rows", "reflected", "given", "complex", "one operand"],
)
def test_what_the_loop_is_not_made_for_is_left_to_numpy(instruction):
    assert ColumnSteps.of([instruction], N_COLUMNS, single=False) is None


def test_what_numpy_computes_in_single_precision_without_rounding_is_left_to_numpy():
    step = Call("divide", column=COLUMN.astype(np.float32))
    assert ColumnSteps.of([step], N_COLUMNS, single=True) is None
    assert ColumnSteps.of([step], N_COLUMNS, single=False) is not None


@pytest.mark.parametrize("number", [10, 10.0, np.int64(10), np.float32(10)])
def test_the_loop_takes_any_number(number):
    assert ColumnSteps.of([Call("minimum", scalar=number)], N_COLUMNS, single=False) is not None
