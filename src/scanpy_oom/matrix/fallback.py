"""What is done with a matrix in memory, since nothing can do it out of memory: within the budget, and announced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
from scipy import sparse

from .engine import engine
from .mixin import Mixin

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .oommatrix import OOMMatrix

__all__ = ["InMemory", "as_held", "run_in_memory", "sparse_arrays"]

READING = frozenset(
    [
        "argmax",
        "argmin",
        "argpartition",
        "argsort",
        "asformat",
        "asfptype",
        "choose",
        "compress",
        "cumprod",
        "cumsum",
        "diagonal",
        "flatten",
        "nanmax",
        "nanmin",
        "nonzero",
        "prod",
        "ptp",
        "repeat",
        "reshape",
        "searchsorted",
        "squeeze",
        "swapaxes",
        "take",
        "tobsr",
        "tocoo",
        "todia",
        "todok",
        "tolil",
        "tolist",
        "trace",
    ]
)
"""Methods of SciPy's matrices and NumPy's arrays that only read, and are called on the values in memory."""

_NO_VERSION = "there is no out-of-memory version of it"


def sparse_arrays(matrix: OOMMatrix) -> bool:
    """Whether `matrix`, were it sparse in memory, would be one of SciPy's sparse arrays.

    As what was given is; what is read, as anndata is set.
    """
    if matrix.source.holds_arrays is not None:
        return matrix.source.holds_arrays
    return bool(getattr(anndata.settings, "use_sparse_array_on_read", False))


def as_held(matrix: OOMMatrix, values: Any) -> Any:
    """Give values of `matrix` the type in which anndata would hold them in memory.

    Column-compressed where scanpy would hold them so, and sparse arrays or matrices (:func:`sparse_arrays`).
    """
    if not sparse.issparse(values):
        return values
    stored = values.tocsc() if matrix.format == "csc" else values.tocsr()
    if not sparse_arrays(matrix):
        return stored
    return sparse.csc_array(stored) if stored.format == "csc" else sparse.csr_array(stored)


def run_in_memory(function: Callable[..., Any], name: str, *operands: Any, **kwargs: Any) -> Any:
    """Call a function on operands of which those out of memory are brought there, which is said.

    Raises
    ------
    MemoryBudgetExceeded
        If they take more than ``settings.memory_limit``.
    """
    matrices = {id(value): value for value in operands if isinstance(value, InMemory)}
    nbytes = sum(matrix.nbytes_in_memory for matrix in matrices.values())
    engine().announce(name, next(iter(matrices.values()))._matrix, nbytes, _NO_VERSION)
    values = {key: matrix.to_memory() for key, matrix in matrices.items()}
    return function(*(values.get(id(value), value) for value in operands), **kwargs)


class InMemory(Mixin):
    """What an :class:`~scanpy_oom.matrix.OOMMatrix` does by way of memory."""

    def to_memory(self) -> Any:
        """Bring all values into memory, as anndata would hold them there."""
        raise NotImplementedError

    def toarray(self, order: str | None = None, out: NDArray | None = None) -> NDArray:
        """Bring all values into memory as a dense array, within ``settings.memory_limit``."""
        values = engine().collect(self._matrix, dense=True, what="toarray")
        if out is None:
            return np.asarray(values, order=order)  # type: ignore[arg-type]
        out[...] = values
        return out

    def todense(self, order: str | None = None, out: NDArray | None = None) -> np.matrix | NDArray:
        """Bring all values into memory as a dense matrix (an array if this is one), within the memory limit."""
        array = self.toarray(order, out)
        return array if sparse_arrays(self._matrix) else array.view(np.matrix)

    @property
    def A(self) -> NDArray:  # noqa: N802
        """All values as a dense array, as SciPy's matrices had them before 1.14."""
        return self.toarray()

    def ravel(self, order: str = "C") -> NDArray:
        """Bring all values into memory as one dense vector, within ``settings.memory_limit``."""
        return engine().collect(self._matrix, dense=True, what="ravel").ravel(order)  # type: ignore[arg-type]

    def tocsc(self, copy: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Bring all values into memory by columns, within ``settings.memory_limit``; itself if it is held so."""
        if self.is_dense:
            raise self._no_attribute("tocsc")  # noqa: EM101
        if self._matrix.format == "csc":
            return self
        return run_in_memory(lambda values: values.tocsc(), "X.tocsc", self)

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> NDArray:  # noqa: FBT001
        if copy is False:
            msg = "Unable to avoid copy: the values of a matrix on disk have to be read."
            raise ValueError(msg)
        array = engine().collect(self._matrix, dense=True, what="numpy.asarray")
        return array if dtype is None else array.astype(dtype, copy=False)

    # -- what SciPy's matrices store

    @property
    def data(self) -> NDArray:
        """The stored values, in memory; read-only."""
        return self._stored("data")

    @property
    def indices(self) -> NDArray[np.integer]:
        """Columns (of a column-compressed matrix, rows) of the stored values, in memory; read-only."""
        return self._stored("indices")

    @property
    def indptr(self) -> NDArray[np.integer]:
        """Where each row (of a column-compressed matrix, column) starts among the stored values; read-only."""
        return self._stored("indptr")

    def _stored(self, name: str) -> NDArray:
        if self.is_dense:
            raise self._no_attribute(name)
        array = run_in_memory(lambda values: getattr(values, name), f"X.{name}", self)
        array.flags.writeable = False
        return array

    has_sorted_indices = True
    has_canonical_format = True

    def sort_indices(self) -> None:
        """Do nothing: indices are always sorted."""

    def sum_duplicates(self) -> None:
        """Do nothing: what is stored twice is read as its sum."""

    def check_format(self, full_check: bool = True) -> None:  # noqa: FBT001, FBT002
        """Do nothing: what is read is checked where it is read."""

    def eliminate_zeros(self) -> None:
        """Do nothing if no zeros are stored.

        Raises
        ------
        TypeError
            If some are: the matrix never changes.
        """
        if self._matrix.nnz != self._matrix.count_nonzero():
            msg = (
                "`X.eliminate_zeros()` would change a matrix in place, and one that stays on disk never changes. No "
                "result depends on the zeros that it stores; without them it is `adata.X.to_memory()`, changed so."
            )
            raise TypeError(msg)

    def getformat(self) -> str:
        """Return how SciPy would hold it."""
        return self._matrix.format

    def get_shape(self) -> tuple[int, int]:
        """Return numbers of rows and columns."""
        return self._matrix.shape

    def getrow(self, i: int) -> Any:
        """Bring a row into memory, by rows as in SciPy."""
        row = self._matrix[[i]]
        return row if self.is_dense else row.tocsr()

    def getcol(self, j: int) -> Any:
        """Bring a column into memory."""
        return self._matrix[:, [j]]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"data", "indices", "indptr"}:
            msg = (
                f"`X.{name} = ...` would change a matrix in place, and one that stays on disk never changes. "
                "Set a new one, `adata.X = np.log1p(adata.X)`, or bring it into memory first, "
                "`adata.X = adata.X.to_memory()`."
            )
            raise AttributeError(msg)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "chain" not in self.__dict__:  # while it is made or unpickled
            raise AttributeError(name)
        kind = np.ndarray if self.is_dense else sparse.csr_matrix
        if name in READING and hasattr(kind, name):
            return lambda *args, **kwargs: run_in_memory(
                lambda values: getattr(values, name)(*args, **kwargs), f"X.{name}", self
            )
        raise self._no_attribute(name)

    def _no_attribute(self, name: str) -> AttributeError:
        kind = np.ndarray if self.is_dense else sparse.csr_matrix
        msg = f"{type(self).__name__!r} object has no attribute {name!r}"
        if hasattr(kind, name):
            msg += (
                f". In memory it has: `X = adata.X.to_memory()`, then `X.{name}`, and `adata.X = X` if that changes it"
            )
        return AttributeError(msg, name=name, obj=self)
