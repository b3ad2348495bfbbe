"""The kernels in plain NumPy and SciPy: what each must equal, written to be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .program import Op, Program

__all__ = [
    "axis_statistics",
    "gram",
    "group_moments",
    "run_program",
    "top_row_sums",
    "transform_rows",
]

_UNARY = {
    Op.LOG1P: np.log1p,
    Op.EXPM1: np.expm1,
    Op.SQRT: np.sqrt,
    Op.SQUARE: np.square,
    Op.ABS: np.abs,
    Op.SIGN: np.sign,
    Op.TRUNCATE: np.trunc,
    Op.NOOP: lambda x: x,
}
_BINARY = {
    Op.POWER: np.power,
    Op.MULTIPLY: np.multiply,
    Op.DIVIDE: np.divide,
    Op.CLIP_MAX: np.minimum,
    Op.CLIP_MIN: np.maximum,
    Op.GREATER: np.greater,
    Op.LESS: np.less,
    Op.NOT_EQUAL: np.not_equal,
    Op.GREATER_EQUAL: np.greater_equal,
    Op.LESS_EQUAL: np.less_equal,
    Op.EQUAL: np.equal,
}
_VECTOR = {
    Op.MULTIPLY_ROW: np.multiply,
    Op.DIVIDE_ROW: np.divide,
    Op.MULTIPLY_COLUMN: np.multiply,
    Op.SUBTRACT_COLUMN: np.subtract,
    Op.DIVIDE_COLUMN: np.divide,
}


def run_program(dense: NDArray[np.float64], program: Program) -> NDArray[np.float64]:
    """Run `program` on every value of a dense block, `(n_rows, n_columns)`."""
    x = dense.astype(np.float64)
    with np.errstate(all="ignore"):
        for k, code in enumerate(program.ops):
            op = Op(code)
            if op in _UNARY:
                new = _UNARY[op](x)
            elif op in _BINARY:
                new = _BINARY[op](x, program.scalars[k])
            elif program.row_operand[k] >= 0:
                new = _VECTOR[op](x, program.rows[program.row_operand[k]][:, None])
            else:
                new = _VECTOR[op](x, program.columns[program.column_operand[k]][None, :])
            new = new.astype(np.float64)
            if program.single[k]:
                new = new.astype(np.float32).astype(np.float64)
            if program.row_mask[k] >= 0:
                new = np.where(program.masks[program.row_mask[k]][:, None], new, x)
            x = new
    return x


def transform_rows(
    block: sparse.csr_matrix,
    columns: NDArray[np.intp] | None,
    program: Program,
    background: NDArray[np.float64],
    row_class: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Dense `(n_rows, n_columns)` result of the kernel of this name, the background taken off where it applies.

    `block` holds no duplicate entries. Places that store nothing are 0.
    """
    chosen = block if columns is None else block[:, columns]
    stored = sparse.csr_matrix(
        (np.ones(chosen.nnz), chosen.indices, chosen.indptr), shape=chosen.shape
    ).toarray()
    out = run_program(chosen.toarray(), program)
    if background.size:
        out = out - background[row_class if row_class.size else np.zeros(out.shape[0], dtype=int)]
    return np.where(stored > 0, out, 0.0)


def axis_statistics(dense: NDArray[np.float64]) -> dict[str, NDArray]:
    """Sums, counts of non-zeros and of positive entries by row and column of a dense block."""
    return {
        "row_sum": dense.sum(axis=1),
        "row_nnz": np.count_nonzero(dense, axis=1),
        "row_npos": np.count_nonzero(dense > 0, axis=1),
        "col_sum": dense.sum(axis=0),
        "col_sumsq": (dense**2).sum(axis=0),
        "col_nnz": np.count_nonzero(dense, axis=0),
        "col_npos": np.count_nonzero(dense > 0, axis=0),
    }


def group_moments(
    dense: NDArray[np.float64], codes: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sums, sums of squares, non-zero and positive counts by group, each `(n_groups, n_columns)`."""
    groups = [dense[codes == g] for g in range(n_groups)]
    return (
        np.stack([x.sum(axis=0) for x in groups]),
        np.stack([(x**2).sum(axis=0) for x in groups]),
        np.stack([np.count_nonzero(x, axis=0) for x in groups]),
        np.stack([np.count_nonzero(x > 0, axis=0) for x in groups]),
    )


def top_row_sums(dense: NDArray[np.float64], ns: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum of the `n` largest values of each row, for each `n` of `ns`."""
    descending = -np.sort(-dense, axis=1)
    return np.stack([descending[:, :n].sum(axis=1) for n in ns], axis=1)


def gram(dense: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper triangle of the Gram matrix of the columns."""
    return np.triu(dense.T @ dense)
