"""Transforms are data: parameters that can be pickled, replaced and, where they are few, compared."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from scanpy_oom.matrix.transforms import ByColumn, ByRow, Cast, Elementwise, NormalizeTotal, RowTotals
from scanpy_oom.matrix.transforms.base import Transform, given_dtype, is_single, taken
from scanpy_oom.matrix.transforms.conditional import Where
from scanpy_oom.matrix.transforms.low_rank import Combine, LowRank
from scanpy_oom.matrix.transforms.pearson import PearsonResiduals
from scanpy_oom.matrix.transforms.representation import DropZeros, HeldByRows, InByteOrder
from scanpy_oom.matrix.transforms.scale import Scale

from .ways import is_data

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
ROWS, COLUMNS = np.arange(1.0, 6.0), np.arange(1.0, 4.0)

ALONE = [
    Elementwise("log1p"),
    Elementwise("multiply", 2.0, DOUBLE, keeps_zeros=True),
    Cast(SINGLE),
    Cast(np.dtype(np.uint8)),
    Where((Elementwise("greater", 2.0),), np.float32(1)),
    HeldByRows(),
    DropZeros(),
    InByteOrder(">"),
]
"""Transforms of few parameters."""

OF_VECTORS = [
    ByRow("multiply", ROWS, DOUBLE),
    ByColumn("subtract", COLUMNS, SINGLE, reflected=True),
    NormalizeTotal(RowTotals(ROWS, np.empty(0, dtype=bool)), 10.0),
    Scale(COLUMNS, COLUMNS, -1.0, ROWS > 2, SINGLE, dense=True),
    Combine("subtract", LowRank(np.ones((5, 2)), np.ones((2, 3))), DOUBLE, "less"),
    PearsonResiduals(ROWS, COLUMNS, 15.0, 100.0, 2.0, single=True),
]
"""Transforms with parameters by row or by column."""


def all_transforms(kind: type = Transform) -> set[type]:
    own = {kind} if kind.__module__.startswith("scanpy_oom") and not kind.__name__.startswith("_") else set()
    return own.union(*(all_transforms(sub) for sub in kind.__subclasses__()))


def test_all_transforms_are_here():
    assert {type(step) for step in ALONE + OF_VECTORS} == all_transforms() - {Transform}


@pytest.mark.parametrize("step", ALONE + OF_VECTORS, ids=str)
def test_a_transform_and_its_instructions_are_data(step):
    assert is_data(step)
    again = pickle.loads(pickle.dumps(step))
    assert str(again) == str(step)
    for dtype in (SINGLE, DOUBLE, np.dtype(np.int64)):
        assert again.result_dtype(dtype) == step.result_dtype(dtype)
        for one, other in zip(step.instructions(dtype), again.instructions(dtype), strict=True):
            assert is_data(one)
            assert type(one) is type(other)
    for field in fields(step):
        with pytest.raises(FrozenInstanceError):
            setattr(step, field.name, None)


@pytest.mark.parametrize("step", ALONE, ids=str)
def test_transforms_of_few_parameters_are_compared_by_these(step):
    assert pickle.loads(pickle.dumps(step)) == replace(step) == step
    assert hash(replace(step)) == hash(step)
    assert [other for other in ALONE if other == step] == [step]


@pytest.mark.parametrize("step", ALONE + OF_VECTORS, ids=str)
def test_a_subset_takes_its_part_of_the_parameters(step):
    rows, columns = np.array([4, 0, 0]), np.array([2, 1])
    part = step.take(rows, columns)
    assert type(part) is type(step)
    for one, other in zip(step.instructions(SINGLE), part.instructions(SINGLE), strict=True):
        if isinstance(one.row, np.ndarray):
            np.testing.assert_array_equal(other.row, one.row[rows])
        if one.column is not None:
            np.testing.assert_array_equal(other.column, one.column[..., columns])
        if one.only_rows is not None:
            np.testing.assert_array_equal(other.only_rows, one.only_rows[rows])


def test_a_parameter_is_taken_at_positions():
    assert taken(ROWS, None) is ROWS
    np.testing.assert_array_equal(taken(ROWS, np.array([1, 1])), [2, 2])


def test_integers_are_given_as_they_are_where_numpy_keeps_them():
    integer = np.dtype(np.int16)
    assert given_dtype(SINGLE, "add", 1, SINGLE) == ()
    assert given_dtype(integer, "add", 1, integer) == (integer,)
    assert given_dtype(integer, "add", 1, DOUBLE) == ()
    assert is_single(SINGLE)
    assert not is_single(DOUBLE)
