"""Select columns and run a program over the non-zeros of a block of rows, in one loop."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from .program import Op

__all__ = ["N_MEMO", "transform_rows"]

N_MEMO = 256
"""Counts below this number are computed once a row: most entries of a count matrix are 1, 2 or 3."""

_LOG1P, _EXPM1, _SQRT, _SQUARE, _ABS, _SIGN, _POWER = (
    int(op) for op in (Op.LOG1P, Op.EXPM1, Op.SQRT, Op.SQUARE, Op.ABS, Op.SIGN, Op.POWER)
)
_MULTIPLY, _DIVIDE, _MULTIPLY_ROW, _DIVIDE_ROW = (
    int(op) for op in (Op.MULTIPLY, Op.DIVIDE, Op.MULTIPLY_ROW, Op.DIVIDE_ROW)
)
_MULTIPLY_COLUMN, _SUBTRACT_COLUMN, _DIVIDE_COLUMN = (
    int(op) for op in (Op.MULTIPLY_COLUMN, Op.SUBTRACT_COLUMN, Op.DIVIDE_COLUMN)
)
_CLIP_MAX, _CLIP_MIN, _TRUNCATE = (int(op) for op in (Op.CLIP_MAX, Op.CLIP_MIN, Op.TRUNCATE))
_GREATER, _LESS, _NOT_EQUAL, _GREATER_EQUAL, _LESS_EQUAL, _EQUAL = (
    int(op) for op in (Op.GREATER, Op.LESS, Op.NOT_EQUAL, Op.GREATER_EQUAL, Op.LESS_EQUAL, Op.EQUAL)
)


@nb.njit(nogil=True, inline="never")
def _elementwise(op, x, scalar):  # noqa: PLR0911, PLR0912 (a switch)
    if op == _LOG1P:
        return math.log1p(x)
    if op == _EXPM1:
        return math.expm1(x)
    if op == _SQRT:
        return math.sqrt(x) if x >= 0 else math.nan
    if op == _SQUARE:
        return x * x
    if op == _ABS:
        return abs(x)
    if op == _SIGN:
        return 1.0 if x > 0 else (-1.0 if x < 0 else x)
    if op == _POWER:
        return x**scalar
    if op == _CLIP_MAX:
        return scalar if x > scalar else x
    if op == _CLIP_MIN:
        return scalar if x < scalar else x
    if op == _MULTIPLY:
        return x * scalar
    if op == _DIVIDE:
        return x / scalar
    if op == _TRUNCATE:
        return float(math.trunc(x)) if math.isfinite(x) else x
    if op == _GREATER:
        return 1.0 if x > scalar else 0.0
    if op == _LESS:
        return 1.0 if x < scalar else 0.0
    if op == _NOT_EQUAL:
        return 1.0 if x != scalar else 0.0
    if op == _GREATER_EQUAL:
        return 1.0 if x >= scalar else 0.0
    if op == _LESS_EQUAL:
        return 1.0 if x <= scalar else 0.0
    if op == _EQUAL:
        return 1.0 if x == scalar else 0.0
    return x


@nb.njit(nogil=True)
def _by_row(x, i, n_ops, ops, scalars, single, row_operand, row_mask, rows, masks):
    """Run the first `n_ops` instructions, none of which looks at the column, on the value `x` of row `i`."""
    for k in range(n_ops):
        if row_mask[k] >= 0 and not masks[row_mask[k], i]:
            continue
        op = ops[k]
        if op == _DIVIDE_ROW:
            x /= rows[row_operand[k], i]
        elif op == _MULTIPLY_ROW:
            x *= rows[row_operand[k], i]
        else:
            x = _elementwise(op, x, scalars[k])
        if single[k]:
            x = np.float64(np.float32(x))
    return x


@nb.njit(nogil=True)
def _by_column(op, scalar, operand, row_value, single, columns, values):  # noqa: PLR0912 (a switch)
    """Run one instruction on all entries of a row: a simple loop each, which the compiler can vectorise."""
    n = values.size
    if op == _SUBTRACT_COLUMN:
        for p in range(n):
            values[p] -= operand[columns[p]]
    elif op == _DIVIDE_COLUMN:
        for p in range(n):
            values[p] /= operand[columns[p]]
    elif op == _MULTIPLY_COLUMN:
        for p in range(n):
            values[p] *= operand[columns[p]]
    elif op == _CLIP_MAX:
        for p in range(n):
            values[p] = scalar if values[p] > scalar else values[p]
    elif op == _CLIP_MIN:
        for p in range(n):
            values[p] = scalar if values[p] < scalar else values[p]
    elif op == _DIVIDE_ROW:
        for p in range(n):
            values[p] /= row_value
    elif op == _MULTIPLY_ROW:
        for p in range(n):
            values[p] *= row_value
    else:
        for p in range(n):
            values[p] = _elementwise(op, values[p], scalar)
    if single:
        for p in range(n):
            values[p] = np.float64(np.float32(values[p]))


@nb.njit(nogil=True, cache=True, error_model="numpy")
def transform_rows(  # noqa: PLR0913
    indptr,
    indices,
    data,
    column_map,
    ops,
    scalars,
    single,
    row_operand,
    column_operand,
    row_mask,
    rows,
    columns,
    masks,
    first_column_op,
    background,
    row_class,
    out_indptr,
    out,
):
    """Keep the wanted columns of a block and transform what is stored in them.

    Parameters
    ----------
    indptr, indices, data
        Block of rows, row-compressed; `indices` is overwritten.
    column_map
        `(n_source_columns,)` int32: new number of each column, -1 to leave it out; empty to keep all.
    ops, ..., first_column_op
        The fields of :class:`~scanpy_oom.kernels.program.Program`, for the rows of the block.
    background, row_class
        `(n_classes, n_columns)` values that the program gives for zeros, and the class of each row
        (empty: all of class 0). What is written is the value less the background; an empty `background` is zero.
    out_indptr, out
        Written: offsets `(n_rows + 1,)` and values `(nnz,)` float64 of the entries that were kept, whose column numbers
        are moved to the front of `indices`. What follows these in both is meaningless.

    Returns
    -------
    Number of entries kept.
    """
    n = indptr.size - 1
    n_ops = ops.size
    keep_all = column_map.size == 0
    has_background = background.size > 0
    memo = np.empty(N_MEMO, dtype=np.float64)
    memo_row = np.full(N_MEMO, -1, dtype=np.int64)
    no_operand = np.empty(0)
    write = 0
    out_indptr[0] = 0
    for i in range(n):
        first = write
        if keep_all:
            for p in range(indptr[i], indptr[i + 1]):
                indices[write] = indices[p]
                out[write] = data[p]
                write += 1
        else:
            # few columns are kept, and which ones cannot be predicted: write always, move on where one is kept
            for p in range(indptr[i], indptr[i + 1]):
                j = column_map[indices[p]]
                indices[write] = j
                out[write] = data[p]
                write += j >= 0
        out_indptr[i + 1] = write
        c = row_class[i] if row_class.size > 0 else 0
        for p in range(first, write):
            x = out[p]
            count = np.int64(x) if abs(x) < N_MEMO else np.int64(-1)
            if count >= 0 and count == x:
                if memo_row[count] != i:
                    memo[count] = _by_row(
                        x, i, first_column_op, ops, scalars, single, row_operand, row_mask, rows, masks
                    )
                    memo_row[count] = i
                out[p] = memo[count]
            else:
                out[p] = _by_row(x, i, first_column_op, ops, scalars, single, row_operand, row_mask, rows, masks)
        for k in range(first_column_op, n_ops):
            if row_mask[k] < 0 or masks[row_mask[k], i]:
                operand = columns[column_operand[k]] if column_operand[k] >= 0 else no_operand
                row_value = rows[row_operand[k], i] if row_operand[k] >= 0 else 0.0
                _by_column(
                    ops[k], scalars[k], operand, row_value, single[k], indices[first:write], out[first:write]
                )
        if has_background:
            for p in range(first, write):
                out[p] -= background[c, indices[p]]
    return write


@nb.njit(nogil=True, cache=True)
def row_totals(indptr, indices, data, counted, totals):
    """Fill the unknown (NaN) entries of `totals`, `(n_rows,)`, with sums over the columns that `counted` marks.

    `counted` is `(n_source_columns,)` booleans, or empty for all columns.
    """
    count_all = counted.size == 0
    for i in range(indptr.size - 1):
        if not np.isnan(totals[i]):
            continue
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            if count_all or counted[indices[p]]:
                total += data[p]
        totals[i] = total
