"""The matrix that stands in ``adata.X``, in layers and in ``raw.X``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata.abc import CSRDataset

from .arithmetic import Arithmetic
from .chain import Chain
from .copies import Copies
from .engine import engine
from .indexing import take_values
from .selection import Selection, normalize_axis_index
from .statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy import sparse

    from ..io.source import Source
    from .selection import Axis
    from .transforms import Transform

__all__ = ["OOMMatrix"]


class OOMMatrix(Arithmetic, CSRDataset):
    """An immutable matrix that stays on disk: one source, one selection, a chain of transforms.

    It is a few vectors in size. Subsets and transforms make a new one and read nothing.

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
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        chain: Chain,
        statistics: Statistics | None = None,
        copies: Copies | None = None,
    ) -> None:
        self.source = source
        self.selection = selection
        self.chain = chain
        self.statistics = Statistics() if statistics is None else statistics
        self.copies = Copies() if copies is None else copies
        self.shape: tuple[int, int] = selection.shape

    @classmethod
    def from_source(cls, source: Source) -> OOMMatrix:
        """Show all of `source`, untransformed."""
        selection = Selection(None, None, source.shape)
        return cls(source, selection, Chain((), source.dtype, source.shape, source.format == "dense"))

    # -- what it is

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Dtype of the values."""
        return self.chain.dtype

    @property
    def is_dense(self) -> bool:  # type: ignore[override]
        """Whether scanpy, in memory, would hold this as a dense array."""
        return self.chain.dense

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    @property
    def size(self) -> int:
        """Number of stored values, as SciPy counts them; of all values where it is dense."""
        return int(np.prod(self.shape)) if self.is_dense else self.nnz

    @property
    def backend(self) -> Literal["hdf5", "zarr"]:
        """Kind of file in which the source lies, in anndata's terms."""
        return "hdf5"

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
        if self.is_dense or self.chain.background is not None:
            return self.count_nonzero()
        if self.selection.columns is None:
            return self.stored
        return self.count_nonzero()

    def getnnz(self, axis: int | None = None) -> Any:
        """Number of stored values, over all or along an axis."""
        return self.nnz if axis is None else self.count_nonzero(axis)

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that this would take in memory at most, as a CSR matrix, or as an array where it is dense."""
        n_rows, n_columns = self.shape
        if self.is_dense or self.chain.background is not None:
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
            return self
        return OOMMatrix(
            self.source,
            self.selection.take(rows, columns),
            self.chain.take(rows, columns),
            self.statistics.take(rows, columns, of=self),
            Copies(above=self.copies),
        )

    def transform(self, step: Transform) -> OOMMatrix:
        """Return this matrix with one more lazy step."""
        chain = self.chain.append(step)
        return OOMMatrix(self.source, self.selection, chain, self.statistics.keep(step.kept_statistics), self.copies)

    def copy(self) -> OOMMatrix:
        """Return itself: it cannot change."""
        return self

    def tocsr(self, copy: bool = False) -> OOMMatrix:  # noqa: FBT001, FBT002
        """Return itself: rows are what it reads."""
        return self

    # -- values

    def to_memory(self) -> sparse.csr_matrix | NDArray:
        """Bring all values into memory, as scanpy would hold them there.

        Raises
        ------
        MemoryBudgetExceeded
            If they take more than ``settings.memory_limit``.
        """
        return engine().collect(self, dense=self.is_dense, what="to_memory")

    def toarray(self) -> NDArray:
        """Bring all values into memory as a dense array, within ``settings.memory_limit``."""
        return engine().collect(self, dense=True, what="toarray")

    def todense(self) -> np.matrix:
        """Bring all values into memory as a dense matrix, within ``settings.memory_limit``."""
        return np.asmatrix(self.toarray())

    def ravel(self) -> NDArray:
        """Bring all values into memory as one dense vector, within ``settings.memory_limit``."""
        return engine().collect(self, dense=True, what="ravel").ravel()

    def __array__(self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None) -> NDArray:  # noqa: FBT001
        array = engine().collect(self, dense=True, what="numpy.asarray")
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        return take_values(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        msg = (
            "A matrix that stays on disk cannot be assigned to. Set a new one instead (`adata.X = ...`), "
            "on a copy if this is a view (`adata = adata[...].copy()`), or bring it into memory "
            "(`adata.X = adata.X.to_memory()`)."
        )
        raise TypeError(msg)

    def __iter__(self) -> Iterator[Any]:
        step = max(1, 2**22 // max(self.shape[1], 1))
        for start in range(0, self.shape[0], step):
            rows = normalize_axis_index(slice(start, start + step), self.shape[0])
            block = self.select(rows).to_memory()
            yield from block

    def __len__(self) -> int:
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

    def _repr_html_(self) -> str:
        from .card import matrix_card

        return matrix_card(self).html()
