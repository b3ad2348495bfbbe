from __future__ import annotations

import pickle

import numpy as np

from scanpy_oom.matrix.transforms.instruction import Call
from scanpy_oom.matrix.transforms.program import N_TABLE, Program

ROW, COLUMN, MASK = np.arange(1.0, 5.0), np.arange(1.0, 4.0), np.array([True, False, True, True])
STEPS = (
    Call("multiply", row=ROW, whole_rows=True),
    Call("log1p", only_rows=MASK),
    Call("subtract", column=COLUMN),
    Call("minimum", 0.5),
)
VALUES = np.arange(12.0).reshape(4, 3)


def want(values, row, mask):
    values = values * row[:, None]
    return np.minimum(np.where(mask[:, None], np.log1p(values), values) - COLUMN, 0.5)


def test_a_block_is_run_with_the_parameters_of_its_rows():
    program = pickle.loads(pickle.dumps(Program(STEPS, single=False)))
    block = program.for_rows(slice(1, 4), np.array([1, 2, 3]))
    np.testing.assert_array_equal(block.run_dense(VALUES[1:]), want(VALUES[1:], ROW[1:], MASK[1:]))


def test_head_and_tail_are_parted_where_columns_begin_to_count():
    program = Program(STEPS, single=False)
    assert (program.head, program.tail) == (STEPS[:2], STEPS[2:])
    block = program.for_rows(slice(0, 4), np.arange(4))
    rows, columns = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    led = block.run_head(VALUES.ravel(), rows)
    np.testing.assert_array_equal(block.run_tail(led, rows, columns), want(VALUES, ROW, MASK).ravel())


def test_parameters_by_row_are_named_by_the_place_of_their_instruction():
    program = Program(STEPS, single=False)
    block = program.for_rows(slice(0, 4), np.arange(4))
    found = block.parameters()
    assert list(found) == [(0, "row"), (1, "only_rows")]
    again = program.on(np).with_parameters(found, 4, np)
    assert not again.loops
    np.testing.assert_array_equal(again.run_dense(VALUES), block.run_dense(VALUES))


def test_one_instruction_may_come_twice():
    twice = Call("multiply", row=ROW)
    block = Program((twice, twice), single=False).for_rows(slice(0, 4), np.arange(4))
    assert list(block.parameters()) == [(0, "row"), (1, "row")]
    np.testing.assert_array_equal(block.run_dense(VALUES), VALUES * (ROW * ROW)[:, None])


def test_values_of_single_precision_are_rounded_first():
    step = Call("add", 0.0)
    x = np.array([[0.1]])
    run = [Program((step,), single).for_rows(slice(0, 1), np.arange(1)).run_dense(x)[0, 0] for single in (False, True)]
    assert run == [0.1, np.float32(0.1)]


def test_the_table_has_a_row_for_each_that_differs():
    block = Program(STEPS, single=False).for_rows(slice(0, 4), np.arange(4))
    np.testing.assert_array_equal(block.table()[0], np.log1p(np.arange(N_TABLE)))
    np.testing.assert_array_equal(block.table()[1], 2.0 * np.arange(N_TABLE))
    assert (block.table_pays(4 * N_TABLE), block.table_pays(4 * N_TABLE + 1)) == (False, True)
    alike = Program((Call("log1p"),), single=False).for_rows(slice(0, 4), np.arange(4))
    assert alike.table().shape == (1, N_TABLE)
    assert alike.table_pays(N_TABLE + 1)


def test_rows_whose_parameter_is_no_number_change_zeros():
    row = np.array([1.0, np.nan, 0.0, np.inf])
    step = Call("multiply", row=row, whole_rows=True)
    found = Program((step,), single=False).for_rows(slice(0, 4), np.arange(4)).changes_zeros()
    np.testing.assert_array_equal(found, [False, True, False, True])
    assert Program(STEPS[1:], single=False).for_rows(slice(0, 4), np.arange(4)).changes_zeros() is None


def test_zeros_become_one_value_a_class_and_column():
    found = Program(STEPS, single=False).of_zeros(np.array([[True, False]]), 3)
    np.testing.assert_array_equal(found, np.tile(np.minimum(0 - COLUMN, 0.5), (2, 1)))
