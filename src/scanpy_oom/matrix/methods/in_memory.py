"""Methods that bring a matrix into memory, within the limit, and announced."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

import anndata
import numpy as np
from scipy import sparse

from ..protocol import TO_ARRAY, engine
from .base import Mixin, no_attribute
from .materialize import materialised

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ...storage.abc import Values
    from ...storage.sources.base import Source
    from ..oommatrix import OOMMatrix
    from .base import Held

    T = TypeVar("T")

__all__ = ["InMemory", "as_held", "asked_by_scipy", "holds_arrays", "run_in_memory", "sparse_arrays"]

READING = frozenset((
    "argmax", "argmin", "argpartition", "argsort", "choose", "compress", "cumprod", "cumsum", "diagonal", "flatten",
    "item", "nonzero", "prod", "repeat", "reshape", "searchsorted", "squeeze", "swapaxes", "take", "tolist", "trace",
))  # fmt: skip
"""Methods of NumPy's arrays that only read, and are called on the values in memory; SciPy's are those of the class."""

_NO_VERSION = "there is no out-of-memory version of it"


def holds_arrays(source: Source) -> bool:
    """Return whether what a source holds, were it sparse in memory, would be one of SciPy's sparse arrays.

    As what was given is; what is read, as anndata is set.
    """
    if source.holds_arrays is not None:
        return source.holds_arrays
    return bool(getattr(anndata.settings, "use_sparse_array_on_read", False))


def sparse_arrays(matrix: OOMMatrix) -> bool:
    """Return whether `matrix` is one of SciPy's sparse arrays, or would be, were it sparse in memory."""
    return isinstance(matrix, sparse.sparray) if sparse.issparse(matrix) else holds_arrays(matrix.source)


def asked_by_scipy() -> bool:
    """Return whether a constructor of SciPy calls the caller; it goes on with the arrays of what it is given."""
    return sys._getframe(2).f_globals.get("__name__", "").startswith("scipy.sparse.")


def as_held(matrix: OOMMatrix, values: Held) -> Any:
    """Give values of `matrix` the type in which anndata would hold them in memory.

    Column-compressed where scanpy would hold them so, and sparse arrays or matrices (:func:`sparse_arrays`).
    """
    if isinstance(values, np.ndarray):
        return values
    stored = values.tocsc() if matrix.format == "csc" else values.tocsr()
    if not sparse_arrays(matrix):
        return stored
    return sparse.csc_array(stored) if stored.format == "csc" else sparse.csr_array(stored)


def run_in_memory(function: Callable[..., T], name: str, *operands: object, **kwargs: object) -> T:
    """Call a function on operands of which those out of memory are brought there, which is said.

    Raises
    ------
    MemoryBudgetExceeded
        If they take more than ``settings.memory_limit``.
    """
    matrices = {id(value): value for value in operands if isinstance(value, InMemory)}
    nbytes = sum(matrix.nbytes_in_memory for matrix in matrices.values())
    first = cast("OOMMatrix", next(iter(matrices.values())))
    engine().announce(name, first, nbytes, _NO_VERSION)
    with materialised(name, first) as made:
        values = {key: made(matrix.to_memory()) for key, matrix in matrices.items()}
    return function(*(values.get(id(value), value) for value in operands), **kwargs)


class InMemory(Mixin):
    """Methods of :class:`~scanpy_oom.matrix.OOMMatrix` that bring values into memory."""

    def toarray(self, order: str | None = None, out: Values | None = None) -> Values:
        """Bring all values into memory as a dense array, within ``settings.memory_limit``."""
        if out is not None and order is not None:
            msg = "order cannot be specified if out is not None"
            raise ValueError(msg)
        if out is not None and (out.shape != self.shape or out.dtype != self.dtype):
            msg = "out array must be same dtype and shape as sparse array"
            raise ValueError(msg)
        if order is not None and (not isinstance(order, str) or order.upper() not in {"C", "F"}):
            msg = f"order must be 'C' or 'F', not {order!r}"
            raise ValueError(msg)
        if out is not None and not (out.flags.c_contiguous or out.flags.f_contiguous):
            msg = "Output array must be C or F contiguous"
            raise ValueError(msg)
        by_columns = self._matrix.format == "csc" if order is None else order.upper() == "F"
        with materialised("X.toarray", self._matrix) as made:
            values = made(engine().collect(self._matrix, dense=True, what="toarray", order="F" if by_columns else "C"))
        if out is None:
            return np.asarray(values)
        out[...] = values
        return out

    def todense(self, order: str | None = None, out: Values | None = None) -> np.matrix | Values:
        """Bring all values into memory as a dense matrix (an array if this is one), within the memory limit."""
        array = self.toarray(order, out)
        return array if sparse_arrays(self._matrix) else array.view(np.matrix)

    @property
    def A(self) -> Values:  # noqa: N802
        """All values as a dense array, as SciPy's matrices had them before 1.14."""
        return self.toarray()

    def ravel(self, order: Literal["K", "A", "C", "F"] = "C") -> Values:
        """Bring all values into memory as one dense vector, within ``settings.memory_limit``."""
        with materialised("X.ravel", self._matrix) as made:
            return made(engine().collect(self._matrix, dense=True, what="ravel").ravel(order))

    def tocsc(self, copy: bool = False) -> Self | sparse.csc_matrix:  # noqa: FBT001, FBT002
        """Bring all values into memory by columns, within ``settings.memory_limit``; itself if it is held so."""
        if self.is_dense:
            raise no_attribute(self._matrix, "tocsc")
        if self._matrix.format == "csc":
            return self
        return run_in_memory(lambda values: values.tocsc(), "X.tocsc", self)

    @property
    def __array__(self) -> Callable[..., Values]:
        """NumPy's conversion of a dense matrix; SciPy's matrices have none, and libraries ask for it."""
        if not self.is_dense:
            raise AttributeError("__array__")  # noqa: EM101
        return self._as_array

    def _as_array(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> Values:  # noqa: FBT001
        if copy is False:
            msg = "Unable to avoid copy: the values of a matrix on disk have to be read."
            raise ValueError(msg)
        with materialised(TO_ARRAY, self._matrix) as made:
            array = made(engine().collect(self._matrix, dense=True, what=TO_ARRAY))
        return array if dtype is None else array.astype(dtype, copy=False)

    # -- what SciPy's matrices store

    @property
    def indices(self) -> NDArray[np.integer]:
        """Columns (of a column-compressed matrix, rows) of the stored values, in memory; read-only."""
        return self._stored("indices")

    @indices.setter
    def indices(self, values: object) -> None:
        self._replace_stored("indices", values)

    @property
    def indptr(self) -> NDArray[np.integer]:
        """Where each row (of a column-compressed matrix, column) starts among the stored values; read-only."""
        return self._stored("indptr")

    @indptr.setter
    def indptr(self, values: object) -> None:
        self._replace_stored("indptr", values)

    def _replace_stored(self, name: str, values: object) -> None:
        """Put others in the place of `indices` or `indptr`, in memory; they must fit what else is stored."""
        if self.is_dense:
            raise no_attribute(self._matrix, name)
        given = np.array(values)  # which the caller may change later

        def change(held: sparse.csr_matrix) -> None:
            if given.shape != getattr(held, name).shape:
                msg = f"X.{name} has {getattr(held, name).size:,} numbers, and {given.size:,} are given."
                msg += " To change their number, set `adata.X = scipy.sparse.csr_matrix((data, indices, indptr))`."
                raise ValueError(msg)
            setattr(held, name, given.astype(getattr(held, name).dtype))
            held.check_format(full_check=True)
            held.has_sorted_indices = held.has_canonical_format = False

        self._matrix.change_in_memory(change, f"X.{name} = ...")

    def _stored(self, name: str) -> NDArray[Any]:
        if self.is_dense:
            raise no_attribute(self._matrix, name)
        from .sparse_arrays import stored_array  # which brings values into memory by what is here

        return stored_array(self._matrix, name)

    has_sorted_indices = True
    has_canonical_format = True

    def sort_indices(self) -> None:
        """Do nothing: indices are always sorted."""

    def sum_duplicates(self) -> None:
        """Do nothing: what is stored twice is read as its sum."""

    def check_format(self, full_check: bool = True) -> None:  # noqa: FBT001, FBT002
        """Do nothing: what is read is checked where it is read."""

    def getformat(self) -> str:
        """Return how SciPy would hold it."""
        return self._matrix.format

    def get_shape(self) -> tuple[int, int]:
        """Return numbers of rows and columns."""
        return self._matrix.shape

    def getrow(self, i: int) -> Held:
        """Bring a row into memory, by rows as in SciPy."""
        row = self._matrix[[i]]
        return row if self.is_dense else row.tocsr()

    def getcol(self, j: int) -> Held:
        """Bring a column into memory."""
        return self._matrix[:, [j]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_state" not in self.__dict__:  # while it is made or unpickled
            raise AttributeError(name)
        if name in READING and self.is_dense:
            return lambda *args, **kwargs: run_in_memory(
                lambda values: getattr(values, name)(*args, **kwargs), f"X.{name}", self
            )
        raise no_attribute(self._matrix, name)
