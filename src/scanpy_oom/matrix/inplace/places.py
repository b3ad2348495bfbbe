"""Places and values of an assignment, as SciPy reads an index, or NumPy for a dense matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ...storage.abc import Values

__all__ = ["Entries", "Places", "in_order_of_places", "places_of"]


class Entries(NamedTuple):
    """Values for places, in order of row and column, each place once.

    Parameters
    ----------
    rows, columns
        `(n,)`.
    values
        `(n,)`.
    only_stored
        `(n,)`: whether nothing is put where nothing is stored.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Values
    only_stored: NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Places of a matrix, and values for them. Where a place comes twice, its last value counts.

    Parameters
    ----------
    rows, columns
        Numbers, as arrays that are broadcast against each other: `(k, 1)` and `(1, m)`, or points.
    values
        What is put there, of the shape that they have together.
    stored
        Of a sparse matrix that is put there: which of the values it stores. Elsewhere stored values become zero.
    """

    rows: NDArray[np.integer]
    columns: NDArray[np.integer]
    values: Values
    stored: sparse.csr_matrix | None = None

    @property
    def size(self) -> int:
        """Count of places."""
        return int(np.prod(np.broadcast_shapes(self.rows.shape, self.columns.shape), dtype=np.int64))

    @property
    def is_outer(self) -> bool:
        """True if they are all of some rows in some columns."""
        return self.rows.ndim == 2 and self.rows.shape[1] == 1

    def by_row(self) -> Places:
        """Return the same, with rows in ascending order, for which :meth:`entries` of some rows is quick."""
        rows = self.rows.reshape(-1)
        if (np.diff(rows) >= 0).all():
            return self
        order = np.argsort(rows, kind="stable")
        if not self.is_outer:
            return Places(self.rows[order], self.columns[order], self.values[order])
        stored = None if self.stored is None else self.stored[order]
        return Places(self.rows[order], self.columns, self.values if stored is not None else self.values[order], stored)

    def transposed(self) -> Places:
        """Return the same places of the transposed matrix."""
        if not self.is_outer:
            return Places(self.columns, self.rows, self.values)
        stored = None if self.stored is None else sparse.csr_matrix(self.stored.T)
        return Places(self.columns.T, self.rows.T, self.values.T, stored)

    def entries(self, rows: NDArray[np.int64] | None = None) -> Entries:
        """Return the values for some of the rows, which ascend: row numbers are positions among these.

        Parameters
        ----------
        rows
            Which rows, of places whose own ascend (:meth:`by_row`); None for all.
        """
        keys = self.rows.reshape(-1)
        chosen: slice | NDArray[np.intp] = slice(None)
        if rows is not None:
            near = slice(*np.searchsorted(keys, [rows[0], rows[-1] + 1])) if rows.size else slice(0)
            at = np.searchsorted(rows, keys[near])
            mine = np.flatnonzero(rows[at] == keys[near])
            keys, chosen = at[mine], mine + near.start if near.start else mine
        if self.is_outer:
            shape = (keys.size, self.columns.size)
            r, c = np.broadcast_to(keys[:, None], shape), np.broadcast_to(self.columns, shape)
            return self._of(r, c, *self._values_at(chosen))
        return self._of(keys, self.columns.reshape(-1)[chosen], self.values.reshape(-1)[chosen], None)

    def _values_at(self, chosen: slice | NDArray[np.intp]) -> tuple[Values, NDArray[np.bool_] | None]:
        if self.stored is None:
            return self.values[chosen], None
        part = self.stored[chosen]
        mask = sparse.csr_matrix((np.ones(part.nnz, dtype=bool), part.indices, part.indptr), shape=part.shape)
        return part.toarray(), ~mask.toarray()

    @staticmethod
    def _of(
        rows: NDArray[np.integer], columns: NDArray[np.integer], values: Values, only_stored: NDArray[np.bool_] | None
    ) -> Entries:
        r, c = np.ravel(rows).astype(np.int64), np.ravel(columns).astype(np.int64)
        only = np.zeros(r.size, dtype=bool) if only_stored is None else only_stored.reshape(-1)
        return in_order_of_places(Entries(r, c, np.ravel(values), only))


def in_order_of_places(entries: Entries) -> Entries:
    """Return entries in order of row and column; of those for one place the last, which comes at most twice."""
    rows, columns, values, only = entries
    order = np.lexsort((columns, rows))  # stable
    rows, columns, only = rows[order], columns[order], only[order]
    same = (np.diff(rows) == 0) & (np.diff(columns) == 0)
    only[1:] &= ~same | only[:-1]  # where the one before is put, the last is
    last = np.append(~same, True)[: rows.size]
    return Entries(rows[last], columns[last], values[order][last], only[last])


def places_of(
    index: object, value: object, shape: tuple[int, int], dtype: np.dtype, *, dense: bool, kind: type[sparse.csr_matrix]
) -> Places | None:
    """Return what ``X[index] = value`` changes; None where that is not known, which an error of NumPy's may be, too.

    Parameters
    ----------
    index, value
        In memory.
    shape, dtype, dense
        Of the matrix.
    kind
        SciPy's class for it, if it is sparse.

    Raises
    ------
    IndexError, ValueError, TypeError
        As SciPy raises them, for a sparse matrix.
    """
    if dense:
        return _of_array(index, value, shape, dtype)
    recorder = _recorder(kind)(shape, dtype=dtype)
    recorder[index] = value
    return recorder.places


def _recorder(kind: type[sparse.csr_matrix]) -> type[sparse.csr_matrix]:
    """Return a subclass of SciPy's class that has its reading of an index and a value, and only notes both."""

    class Recorder(kind):
        places: Places | None = Places(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

        def _set_intXint(self, row: int, col: int, x: object) -> None:  # noqa: N802
            self.places = Places(np.array([row]), np.array([col]), np.array([x], dtype=self.dtype))

        def _set_arrayXarray(self, row: NDArray[np.intp], col: NDArray[np.intp], x: ArrayLike) -> None:  # noqa: N802
            self.places = _noted(row, col, np.asarray(x, dtype=self.dtype))

        def _set_arrayXarray_sparse(self, row: NDArray[np.intp], col: NDArray[np.intp], x: sparse.spmatrix) -> None:  # noqa: N802
            self.places = _noted_sparse(row, col, x.astype(self.dtype))

    return Recorder


def _noted(row: NDArray[np.intp], col: NDArray[np.intp], x: Values) -> Places:
    x = np.broadcast_to(x, row.shape)
    if row.ndim == 2 and _is_outer(row, col):
        return Places(row[:, :1], col[:1], x)
    return Places(row.reshape(-1), col.reshape(-1), x.reshape(-1))


def _noted_sparse(row: NDArray[np.intp], col: NDArray[np.intp], x: sparse.spmatrix) -> Places | None:
    if not _is_outer(row, col) or _repeats(row[:, 0]) or _repeats(col[0]):
        return None
    given = sparse.csr_matrix(x)
    given.sum_duplicates()
    if given.shape[0] == 1 != row.shape[0]:
        given = given[np.zeros(row.shape[0], dtype=np.intp)]
    if given.shape[1] == 1 != row.shape[1]:
        given = given[:, np.zeros(row.shape[1], dtype=np.intp)]
    return Places(row[:, :1], col[:1], np.zeros(0), given)


def _repeats(numbers: NDArray[np.intp]) -> bool:
    return bool(np.unique(numbers).size < numbers.size)


def _is_outer(row: NDArray[np.intp], col: NDArray[np.intp]) -> bool:
    """Return whether rows differ along the first axis alone, and columns along the second."""
    if not row.size:
        return False
    same = row.strides[1] == 0 or row.shape[1] == 1 or bool((row == row[:, :1]).all())
    return same and (col.strides[0] == 0 or col.shape[0] == 1 or bool((col == col[:1]).all()))


def _of_array(index: object, value: object, shape: tuple[int, int], dtype: np.dtype) -> Places | None:
    """Read an index as NumPy does, of the kinds that scripts use."""
    given = np.asarray(value)
    if given.ndim == 0:
        np.empty(1, dtype)[0] = value  # NumPy says which numbers it does not take
    if sparse.issparse(value) or given.dtype.kind not in "biuf" or _is_wide(given, dtype):
        return None
    if isinstance(index, np.ndarray) and index.dtype == bool and index.ndim == 2:
        return _of_mask(index, given, shape, dtype)
    keys = index if isinstance(index, tuple) else (index,)
    if len(keys) == 1:
        keys = (*keys, slice(None))
    if len(keys) != 2:
        return None
    is_outer = [getattr(key, "ndim", 0) for key in keys] == [2, 2] and (keys[0].shape[1], keys[1].shape[0]) == (1, 1)
    keys = tuple(key.reshape(-1) for key in keys) if is_outer else keys  # as of numpy.ix_
    if any(key is Ellipsis for key in keys):
        return None
    of_rows, of_columns = (_axis(key, n) for key, n in zip(keys, shape, strict=True))
    if of_rows is None or of_columns is None:
        return None
    (rows, row_axes), (columns, column_axes) = of_rows, of_columns
    if row_axes == column_axes == "one" and given.ndim:
        return None
    if not is_outer and {row_axes, column_axes} in ({"points"}, {"points", "one"}):
        return _points(rows, columns, given, dtype)
    target = tuple(part.size for part, axes in (of_rows, of_columns) if axes != "one")
    spread = _broadcast(given, target)
    if spread is None:
        return None
    return Places(rows[:, None], columns[None, :], spread.reshape(rows.size, columns.size).astype(dtype))


def _is_wide(given: Values, dtype: np.dtype) -> bool:
    """Return whether NumPy would have something to say on the cast."""
    return given.dtype.kind == "f" and dtype.kind in "biu" and not np.isfinite(given).all()


def _of_mask(mask: NDArray[np.bool_], given: Values, shape: tuple[int, int], dtype: np.dtype) -> Places | None:
    if mask.shape != shape:
        return None
    rows, columns = np.nonzero(mask)
    spread = _broadcast(given, rows.shape) if given.ndim < 2 else None
    return None if spread is None else Places(rows, columns, spread.astype(dtype))


def _axis(key: object, n: int) -> tuple[NDArray[np.int64], str] | None:
    """Return the numbers along an axis, and what they are: one, a slice of several, or points."""
    if isinstance(key, slice):
        return np.arange(n)[key], "several"
    array = np.asarray(key)
    if array.ndim == 1 and array.dtype == bool and array.size != n:
        return None
    if array.dtype.kind not in "iub" or array.ndim > 1 or (array.ndim == 0 and array.dtype == bool):
        return None
    outside = array.dtype != bool and array.size > 0 and bool(((array < -n) | (array >= n)).any())
    return None if outside else (np.atleast_1d(np.arange(n)[array]), "points" if array.ndim else "one")


def _points(rows: NDArray[np.int64], columns: NDArray[np.int64], given: Values, dtype: np.dtype) -> Places | None:
    try:
        rows, columns = np.broadcast_arrays(rows, columns)
    except ValueError:
        return None
    spread = _broadcast(given, rows.shape)
    return None if spread is None else Places(rows, columns, spread.astype(dtype))


def _broadcast(given: Values, target: tuple[int, ...]) -> Values | None:
    while given.ndim > len(target) and given.shape[0] == 1:
        given = given[0]
    try:
        return np.broadcast_to(given, target)
    except ValueError:
        return None
