"""The matrix that stands in ``adata.X``, in layers and in ``raw.X``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from anndata.abc import CSRDataset
from scipy import sparse

from ..storage.sources.base import Source
from ..storage.sources.memory import MemorySource
from .cache_registry import Copies
from .inplace.changes import Changes
from .known_statistics import Statistics
from .methods.arithmetic import Arithmetic
from .methods.base import no_attribute
from .methods.in_memory import InMemory, as_held, asked_by_scipy, holds_arrays, run_in_memory
from .methods.indexing import take_values
from .methods.materialize import materialised
from .methods.products import Products
from .methods.reductions import Reductions
from .protocol import engine
from .selection import Selection, normalize_axis_index
from .state import State
from .transforms.chain import Chain
from .transforms.representation import HeldByRows, InByteOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..storage.abc import Values
    from .methods.base import Held, Result
    from .selection import Axis
    from .transforms import Transform

__all__ = ["KINDS", "OOMMatrix"]

KINDS: dict[tuple[str, bool], type[OOMMatrix]] = {}
"""The classes of sparse matrices, by format and whether they are sparse arrays."""


class OOMMatrix(Products, Reductions, InMemory, Changes, Arithmetic, CSRDataset):
    """A matrix that stays on disk: one source, one selection, a chain of transforms.

    It is a few vectors in size. Subsets and transforms make a new one and read nothing. What works in place in memory
    gives the matrix another state, under all names that it has; a state itself never changes.

    Parameters
    ----------
    source
        Where the stored values lie.
    selection
        Which rows and columns of it are shown.
    chain
        What is done to the values.
    statistics
        What is known of the result.
    copies
        Where compact copies of the stored values are found.
    transposed_of
        Of a transposed matrix, the one with rows and columns exchanged, which answers what both have; else None.
    """

    def __new__(
        cls,
        source: object,
        selection: Any = None,
        chain: Any = None,
        statistics: Statistics | None = None,
        copies: Copies | None = None,
        transposed_of: OOMMatrix | None = None,
        **of_scipy: object,
    ) -> Any:
        """Make one of the class that SciPy, or NumPy, has for it in memory.

        What is no source is for SciPy's class: scripts make matrices by ``type(X)(...)``, which are in memory.
        """
        if not isinstance(source, Source):
            scipys = next((base for base in cls.__mro__ if base.__module__.startswith("scipy.")), None)
            if scipys is None:
                msg = f"A source is expected, not {type(source).__name__}: `scanpy_oom.to_oom(array)` makes a matrix."
                raise TypeError(msg)
            given = [value for value in (source, selection, chain) if value is not None]
            return scipys(*given, **of_scipy)
        statistics = Statistics() if statistics is None else statistics
        copies = Copies() if copies is None else copies
        return cls._of(State(source, selection, chain, statistics, copies, transposed_of))

    def __init__(self, *_: object, **__: object) -> None:
        """Do nothing: SciPy's matrices would want their arrays."""

    @staticmethod
    def _of(state: State) -> OOMMatrix:
        kind = OOMMatrix
        if not state.chain.dense:
            kind = KINDS[state.format, holds_arrays(state.source)]
        matrix = object.__new__(kind)
        matrix._state = state
        return matrix

    def __reduce__(self) -> tuple[Callable[[State], OOMMatrix], tuple[State]]:
        return OOMMatrix._of, (self._state,)

    @classmethod
    def from_source(cls, source: Source, transposed_of: OOMMatrix | None = None) -> OOMMatrix:
        """Show all of `source`, untransformed; `transposed_of` is the same with rows and columns exchanged."""
        selection = Selection(None, None, source.shape)
        chain = Chain((), source.dtype, source.shape, source.format == "dense")
        return cls(source, selection, chain, transposed_of=transposed_of)

    @classmethod
    def from_memory(cls, values: sparse.spmatrix | sparse.sparray | Values) -> OOMMatrix:
        """Show a SciPy sparse matrix or an array in memory, which is not copied and must not change from here on."""
        return cls.from_source(MemorySource(values))

    # -- its state

    @property
    def source(self) -> Source:
        """Source of the stored values."""
        return self._state.source

    @property
    def selection(self) -> Selection:
        """Rows and columns of the source that are shown."""
        return self._state.selection

    @property
    def statistics(self) -> Statistics:
        """Known statistics of the result."""
        return self._state.statistics

    @property
    def copies(self) -> Copies:
        """Registry of cached copies of the stored values."""
        return self._state.copies

    def become(self, other: OOMMatrix) -> None:
        """Take over the state of a matrix of the same shape: whoever holds this one sees those values from now on."""
        order = self.dtype_in_memory.byteorder
        if order in "<>" and self.is_dense and self.dtype == other.dtype != other.dtype.newbyteorder(order):
            other = other.transform(InByteOrder(order))  # an array keeps its type, whatever is written to it
        self._state = other._state

    # -- what it is

    @property
    def dtype_in_memory(self) -> np.dtype:
        """Dtype of the values in memory: arrays have the byte order of their file there, until a step changes them."""
        if not self.chain.transforms:
            return self.dtype.newbyteorder(self.source.byteorder)
        last = self.chain.transforms[-1]
        return self.dtype.newbyteorder(last.order) if isinstance(last, InByteOrder) else self.dtype

    @property
    def format(self) -> Literal["csr", "csc"]:
        """Format in memory, were it sparse."""
        return self._state.format

    @property
    def format_in_memory(self) -> Literal["csr", "csc", "dense"]:
        """Format in memory."""
        return "dense" if self.is_dense else self.format

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    @property
    def size(self) -> int:
        """Number of stored values, as SciPy counts them; of all values where it is dense."""
        return int(np.prod(self.shape)) if self.is_dense else self.nnz

    @property
    def backend(self) -> str:
        """Kind of storage in which the source lies: ``"hdf5"`` or ``"zarr"``, as in anndata, or another."""
        return self.source.backend

    @property
    def stored(self) -> int:
        """Entries of the source in the rows that are shown, in all of its columns: what a pass reads."""
        rows = self.selection.rows
        if rows is None:
            return self.source.nnz
        offsets = self.source.row_offsets()
        return int(np.subtract(offsets[rows + 1], offsets[rows], dtype=np.int64).sum())

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        if self.transposed_of is not None:
            return self.transposed_of.nnz
        if self.is_dense or self.chain.fill_values is not None or self.chain.drops_zeros:
            return int(self.count_nonzero())
        if self.selection.columns is None and self.source.nnz_is_exact:
            return self.stored
        return int(self.getnnz(axis=0).sum())

    @property
    def stores_no_zeros(self) -> bool:
        """True if it is known that no entry that is stored is zero."""
        statistics = self.statistics
        whole = self.selection.columns is None and self.source.nnz_is_exact and not self.chain.drops_zeros
        if statistics.no_zeros is None and whole:
            counts = statistics.known.get("col_nnz", statistics.known.get("row_nnz"))
            statistics.no_zeros = None if counts is None else bool(counts.sum() == self.stored)
        return bool(statistics.no_zeros)

    @property
    def nbytes(self) -> int:
        """Bytes that an array of this would take in memory."""
        if not self.is_dense:
            raise no_attribute(self, "nbytes")
        return self.nbytes_in_memory

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that this would take in memory at most, as a CSR matrix, or as an array where it is dense."""
        n_rows, n_columns = self.shape
        if self.transposed_of is not None:
            return self.transposed_of.nbytes_in_memory
        if self.is_dense or self.chain.fill_values is not None:
            return n_rows * n_columns * self.dtype.itemsize
        entries = min(self._expected_entries(), n_rows * n_columns)
        index_size = 4 if entries < np.iinfo(np.int32).max else 8
        return int(entries * (self.dtype.itemsize + index_size) + (n_rows + 1) * index_size)

    def _expected_entries(self) -> float:
        """Return how many entries are stored, as far as offsets of rows or columns tell; else by their mean density."""
        columns, (n_source_rows, n_source_columns) = self.selection.columns, self.selection.source_shape
        offsets = self.source.column_offsets()
        if offsets is not None:  # rows would have to be counted first
            chosen = slice(None) if columns is None else columns
            return float(np.diff(offsets)[chosen].sum()) * self.shape[0] / max(n_source_rows, 1)
        return self.stored if columns is None else self.stored * columns.size / max(n_source_columns, 1)

    # -- other matrices made from it

    def select(self, rows: Axis = None, columns: Axis = None) -> OOMMatrix:
        """Return the rows and columns at these positions; lazy."""
        if rows is None and columns is None:
            return OOMMatrix._of(self._state)
        return OOMMatrix(
            self.source,
            self.selection.take(rows, columns),
            self.chain.take(rows, columns),
            self.statistics.take(rows, columns, of=self),
            Copies(above=self.copies, same_rows=rows is None),
            None if self.transposed_of is None else self.transposed_of.select(columns, rows),
        )

    def transform(self, step: Transform) -> OOMMatrix:
        """Return this matrix with one more lazy step."""
        chain = self.chain.append(step)
        changes_zeros = step.by_row and self.is_dense and step.may_change_zeros()
        statistics = self.statistics.keep(frozenset() if changes_zeros else step.kept_statistics)
        transposed_of = (
            self.transposed_of.transform(step) if self.transposed_of is not None and step.is_uniform else None
        )
        return OOMMatrix(self.source, self.selection, chain, statistics, self.copies, transposed_of)

    def without_remainder(self) -> OOMMatrix:
        """Return this matrix, without those from whose statistics its own could follow: they need not be kept."""
        statistics = Statistics(self.statistics.known)
        transposed_of = None if self.transposed_of is None else self.transposed_of.without_remainder()
        return OOMMatrix(self.source, self.selection, self.chain, statistics, self.copies, transposed_of)

    def copy(self, order: str = "C") -> Self:
        """Return another matrix of the same values, which changes by itself; nothing is read."""
        same: Any = self._values() if asked_by_scipy() else OOMMatrix._of(self._state)
        return cast("Self", same)

    def __copy__(self) -> OOMMatrix:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, object]) -> OOMMatrix:
        return self.copy()

    def asformat(self, format: str | None, copy: bool = False) -> Result:  # noqa: FBT001, FBT002
        """Return the matrix held in another way; itself if it is held so, and else in memory."""
        if self.is_dense:
            raise no_attribute(self, "asformat")
        if asked_by_scipy():
            return run_in_memory(lambda values: values.asformat(format), "scipy.sparse", self)
        if format is None or format == self.format:
            return self.copy() if copy else self
        return getattr(self, f"to{format}")(copy=copy)

    def tocsr(self, copy: bool = False) -> OOMMatrix:  # noqa: FBT001, FBT002
        """Return itself, by rows; lazy."""
        if self.is_dense:
            raise no_attribute(self, "tocsr")
        if self.format != "csr":
            return self.transform(HeldByRows())
        return self.copy() if copy else self

    # -- values

    def to_memory(self) -> sparse.csr_matrix | sparse.csc_matrix | sparse.csr_array | sparse.csc_array | Values:
        """Bring all values into memory, as anndata would hold them there.

        Column-compressed where scanpy would hold them so, and as sparse arrays if such were given, or if
        ``anndata.settings.use_sparse_array_on_read``.

        Raises
        ------
        MemoryBudgetExceeded
            If they take more than ``settings.memory_limit``.
        """
        with materialised("X.to_memory", self) as made:
            return made(self._values())

    def _values(self) -> Held:
        """All values, as anndata would hold them in memory."""
        if self.transposed_of is not None:
            return as_held(self, self.transposed_of._values().T)
        return as_held(self, engine().collect(self, dense=self.is_dense, what="to_memory"))

    def __getitem__(self, index: object) -> Any:
        return take_values(self, index)

    def __iter__(self) -> Iterator[Any]:
        step = max(1, 2**22 // max(self.shape[1], 1))
        for start in range(0, self.shape[0], step):
            rows = normalize_axis_index(slice(start, start + step), self.shape[0])
            yield from self.select(rows)._values()

    def __len__(self) -> int:
        if self.is_dense:
            return self.shape[0]
        msg = "sparse matrix length is ambiguous; use getnnz() or shape[0]"
        raise TypeError(msg)

    def __bool__(self) -> bool:
        msg = "The truth value of a matrix with more than one value is ambiguous."
        raise ValueError(msg)

    def __sizeof__(self) -> int:
        vectors = [v for v in (self.selection.rows, self.selection.columns) if v is not None]
        return sum(v.nbytes for v in [*vectors, *self.statistics.known.values()])

    def __repr__(self) -> str:
        n_rows, n_columns = self.shape
        steps = "".join(f" → {t}" for t in self.chain.transforms)
        return f"OOMMatrix of shape {n_rows} × {n_columns}, {self.dtype}, from {self.source.location}{steps}"

    def __str__(self) -> str:
        if not sparse.issparse(self):
            return repr(self)
        from .card import matrix_text

        return matrix_text(self)

    def _repr_html_(self) -> str:
        from .card import matrix_card

        return matrix_card(self).html()
