"""The kernels in plain NumPy and SciPy: what each must equal, written to be read."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

__all__ = [
    "axis_statistics",
    "gram",
    "group_moments",
    "look_up",
    "select_columns",
    "top_row_sums",
]


def select_columns(block: sparse.csr_matrix, columns: NDArray[np.intp]) -> sparse.csr_matrix:
    """Keep `columns` of a block, in that order."""
    return block[:, columns]


def look_up(values: NDArray[np.float64], rows: NDArray[np.intp], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace whole numbers below the table's width by its entries; `rows` are those of the values."""
    hit = (values >= 0) & (values < table.shape[1]) & (values % 1 == 0)
    out = values.copy()
    out[hit] = table[rows[hit] if table.shape[0] > 1 else 0, values[hit].astype(int)]
    return out


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
    """Gram matrix of the columns."""
    return dense.T @ dense


def encode_deltas(indptr: NDArray[np.integer], indices: NDArray[np.integer]) -> NDArray[np.int64]:
    """Columns that are skipped before each stored entry of a row."""
    rows = [indices[start:stop] for start, stop in pairwise(indptr)]
    return np.concatenate([np.diff(row, prepend=-1) - 1 for row in rows] or [np.empty(0, dtype=np.int64)])


def decode_deltas(lengths: NDArray[np.integer], deltas: NDArray[np.integer]) -> NDArray[np.int64]:
    """Columns, from how many are skipped before each."""
    rows = np.split(deltas.astype(np.int64), np.cumsum(lengths)[:-1]) if lengths.size else [deltas.astype(np.int64)]
    return np.concatenate([np.cumsum(row + 1) - 1 for row in rows])


def narrow_counts(values: NDArray[np.floating], dtype: np.dtype) -> NDArray | None:
    """Values as unsigned integers; None where they are no such numbers."""
    fit = (values >= 0) & (values <= np.iinfo(dtype).max) & (values == np.floor(values)) & ~np.signbit(values)
    return values.astype(dtype) if fit.all() else None
