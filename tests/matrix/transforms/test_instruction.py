from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from scanpy_oom.matrix.transforms.instruction import Call, SourceRows

VALUES = np.array([[0.0, 1.0], [2.0, 3.0]])
ROWS, COLUMNS = np.arange(2)[:, None], np.arange(2)[None, :]


def applied(step, **kwargs):
    return step.apply(np, VALUES, ROWS, COLUMNS, **kwargs)


def test_the_operand_is_one_for_all_or_that_of_the_row_or_column():
    np.testing.assert_array_equal(applied(Call("add", 10.0)), VALUES + 10)
    np.testing.assert_array_equal(applied(Call("add", row=np.array([1.0, 2.0]))), VALUES + np.array([[1], [2]]))
    np.testing.assert_array_equal(applied(Call("add", column=np.array([1.0, 2.0]))), VALUES + np.array([1, 2]))
    np.testing.assert_array_equal(applied(Call("subtract", 10.0, reflected=True)), 10 - VALUES)
    np.testing.assert_array_equal(applied(Call("negative")), -VALUES)


def test_values_are_held_in_the_precision_that_is_told():
    assert applied(Call("add", 0.1)).dtype == np.float64
    np.testing.assert_array_equal(applied(Call("add", 0.1, single=True)), (VALUES + 0.1).astype(np.float32))
    assert applied(Call("greater", 1.0)).dtype == np.float64
    wrapped = Call("positive", given=(np.dtype(np.int64), np.dtype(np.uint8))).apply(np, VALUES - 1, ROWS, COLUMNS)
    np.testing.assert_array_equal(wrapped, [[255, 0], [1, 2]])


def test_other_rows_and_zeros_that_are_not_stored_are_left_alone():
    some = Call("add", 10.0, only_rows=np.array([False, True]))
    np.testing.assert_array_equal(applied(some), [[0, 1], [12, 13]])
    keeping = Call("add", 10.0, keeps_zeros=True)
    np.testing.assert_array_equal(applied(keeping), VALUES + 10)
    np.testing.assert_array_equal(applied(keeping, stored=False), [[0, 11], [12, 13]])


class Tens(SourceRows):
    def at(self, source_rows):
        return 10.0 * source_rows


def test_a_block_has_the_parameters_of_its_rows():
    step = Call("add", row=np.arange(5.0), only_rows=np.arange(5) > 2)
    part = step.for_rows(slice(2, 4), np.array([7, 9]))
    np.testing.assert_array_equal(part.row, [2, 3])
    np.testing.assert_array_equal(part.only_rows, [False, True])
    np.testing.assert_array_equal(Call("add", row=Tens()).for_rows(slice(2, 4), np.array([7, 9])).row, [70, 90])
    alike = Call("add", 1.0)
    assert alike.for_rows(slice(2, 4), np.array([7, 9])) is alike


def test_what_arrays_lack_is_named():
    assert Call("log1p").lacking(np) == ""
    assert Call("log1p").lacking(SimpleNamespace(add=np.add)) == "log1p"
