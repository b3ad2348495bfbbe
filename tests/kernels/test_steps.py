from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom import kernels
from scanpy_oom.kernels import reference

N_COLUMNS = 5
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e300]
VALUES = st.floats(-10, 10) | st.floats(width=64) | st.integers(1, 99).map(lambda n: n / 10) | st.sampled_from(SPECIAL)
OPERANDS = st.lists(VALUES, min_size=N_COLUMNS, max_size=N_COLUMNS).map(np.array)


@st.composite
def entries(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Columns, in any order, and values."""
    found = draw(st.lists(st.tuples(st.integers(0, N_COLUMNS - 1), VALUES), max_size=40))
    return np.array([j for j, _ in found], dtype=np.int32), np.array([x for _, x in found], dtype=np.float64)


@given(block=entries(), steps=st.lists(st.tuples(st.sampled_from(kernels.STEPS), OPERANDS, st.booleans()), max_size=4))
def test_column_steps_equal_reference_to_the_last_bit(block, steps):
    indices, values = block
    want = reference.column_steps(values, indices, steps)
    numbers = np.array([kernels.STEPS.index(name) for name, _, _ in steps], dtype=np.int64)
    operands = np.array([operand for _, operand, _ in steps]).reshape(-1, N_COLUMNS)
    kernels.column_steps(indices, numbers, operands, np.array([single for *_, single in steps], dtype=bool), values)
    np.testing.assert_array_equal(values, want)


@given(block=entries(), operand=OPERANDS)
def test_differences_equal_reference_to_the_last_bit(block, operand):
    indices, values = block
    out = np.full_like(values, 7)
    before = values.copy()
    kernels.subtract_columns(indices, values, operand, out)
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(out, reference.subtract_columns(values, indices, operand))
    np.testing.assert_array_equal(values, before)
