from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.kernels import reference, transform_rows
from scanpy_oom.kernels.program import Instruction, Instructions, Op
from scanpy_oom.kernels.transform import row_totals

from .strategies import blocks, instructions

NO_MAP = np.empty(0, dtype=np.int32)
NO_CLASSES = np.empty(0, dtype=np.int64)


def run_kernel(block, column_map, program, background, row_class, n_columns):
    indices, out = block.indices.astype(np.int32), np.empty(block.nnz)
    indptr, out_indptr = block.indptr.astype(np.int64), np.empty(block.shape[0] + 1, dtype=np.int64)
    kept = transform_rows(
        indptr, indices, block.data, column_map,
        program.ops, program.scalars, program.single, program.row_operand, program.column_operand, program.row_mask,
        program.rows, program.columns, program.masks, program.first_column_op,
        background, row_class, out_indptr, out,
    )  # fmt: skip
    shape = (block.shape[0], n_columns)
    return sparse.csr_matrix((out[:kept], indices[:kept], out_indptr), shape=shape).toarray()


@settings(deadline=None, max_examples=200)
@given(data=st.data(), block=blocks())
def test_kernel_equals_reference_for_any_program_and_columns(data, block):
    columns = None
    if data.draw(st.booleans()):
        chosen = data.draw(st.permutations(range(block.shape[1])))
        columns = np.array(chosen[: data.draw(st.integers(0, len(chosen)))], dtype=np.intp)
    n_columns = block.shape[1] if columns is None else columns.size
    steps = Instructions(data.draw(instructions(block.shape[0], n_columns)), n_columns)
    rows = np.arange(block.shape[0])
    program = steps.program(slice(None), rows)
    background, row_class = np.empty((0, 0)), NO_CLASSES
    if data.draw(st.booleans()):
        background = np.random.default_rng(0).random((2, n_columns))
        row_class = rows % 2
    column_map = NO_MAP
    if columns is not None:
        column_map = np.full(block.shape[1], -1, dtype=np.int32)
        column_map[columns] = np.arange(n_columns)
    got = run_kernel(block, column_map, program, background, row_class, n_columns)
    want = reference.transform_rows(block, columns, program, background, row_class)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", [Op.LOG1P, Op.EXPM1, Op.SQRT, Op.LESS, Op.GREATER_EQUAL, Op.LESS_EQUAL, Op.EQUAL])
@pytest.mark.parametrize("single", [True, False])
def test_each_operation_equals_numpy_on_counts_and_fractions(op, single):
    block = sparse.csr_matrix(np.array([[0.5, 1, 2, 3], [4, 0, 0.25, 1]], dtype=np.float32))
    program = Instructions([Instruction(op, scalar=1.0, single=single)], 4).program(slice(None), np.arange(2))
    got = run_kernel(block, NO_MAP, program, np.empty((0, 0)), NO_CLASSES, 4)
    want = reference.transform_rows(block, None, program, np.empty((0, 0)), NO_CLASSES)
    np.testing.assert_allclose(got, want, rtol=1e-15 if not single else 6e-8)


def test_not_a_number_and_infinity_pass_through_the_memo():
    block = sparse.csr_matrix(np.array([[np.nan, np.inf, -np.inf, 1e30]], dtype=np.float32))
    program = Instructions([Instruction(Op.MULTIPLY, scalar=2.0)], 4).program(slice(None), np.arange(1))
    got = run_kernel(block, NO_MAP, program, np.empty((0, 0)), NO_CLASSES, 4)
    np.testing.assert_array_equal(got, block.toarray().astype(float) * 2)


@settings(deadline=None, max_examples=50)
@given(block=blocks(), known=st.booleans())
def test_row_totals_fill_what_is_unknown_and_leave_what_is_known(block, known):
    counted = np.arange(block.shape[1]) % 2 == 0
    totals = np.full(block.shape[0], np.nan)
    if known:
        totals[::2] = -1
    row_totals(block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data, counted, totals)
    want = block.toarray().astype(float)[:, counted].sum(axis=1)
    if known:
        want[::2] = -1
    np.testing.assert_allclose(totals, want, rtol=1e-12, atol=1e-12)
