"""The matrix that stands in ``adata.X``, in layers and in ``raw.X``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata.abc import CSRDataset

from .arithmetic import Arithmetic
from .chain import Chain
from .copies import Copies
from .engine import engine
from .fallback import InMemory, as_held
from .indexing import take_values
from .layout import HeldByRows
from .products import Products
from .reductions import Reductions
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


class OOMMatrix(Products, Reductions, InMemory, Arithmetic, CSRDataset):
    """An immutable matrix that stays on disk: one source, one selection, a chain of transforms.

    It is a few vectors in size. Subsets and transforms make a new one and read nothing.

    Attributes
    ----------
    mirror
        Of a transposed matrix, the one with rows and columns exchanged, which answers what both have; else None.

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
        self.mirror: OOMMatrix | None = None

    @classmethod
    def from_source(cls, source: Source) -> OOMMatrix:
        """Show all of `source`, untransformed."""
        selection = Selection(None, None, source.shape)
        return cls(source, selection, Chain((), source.dtype, source.shape, source.format == "dense"))

    # -- what it is

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Dtype of the values, in native byte order."""
        return self.chain.dtype

    @property
    def dtype_in_memory(self) -> np.dtype:
        """Dtype of the values in memory: arrays have the byte order of their file there, until a step changes them."""
        return self.dtype if self.chain.transforms else self.dtype.newbyteorder(self.source.byteorder)

    @property
    def is_dense(self) -> bool:  # type: ignore[override]
        """Whether scanpy, in memory, would hold this as a dense array."""
        return self.chain.dense

    @property
    def format(self) -> Literal["csr", "csc"]:
        """How scanpy, in memory, would hold it, were it sparse."""
        by_columns = self.source.format == "csc" and not any(step.by_rows for step in self.chain.transforms)
        return "csc" if by_columns else "csr"

    @property
    def format_in_memory(self) -> Literal["csr", "csc", "dense"]:
        """How scanpy, in memory, would hold it."""
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
        if self.mirror is not None:
            return self.mirror.nnz
        if self.is_dense or self.chain.background is not None or self.chain.drops_zeros:
            return int(self.count_nonzero())
        if self.selection.columns is None and self.source.nnz_is_exact:
            return self.stored
        return int(self.getnnz(axis=0).sum())

    @property
    def nbytes(self) -> int:
        """Bytes that an array of this would take in memory."""
        if not self.is_dense:
            raise self._no_attribute("nbytes")  # noqa: EM101
        return self.nbytes_in_memory

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that this would take in memory at most, as a CSR matrix, or as an array where it is dense."""
        n_rows, n_columns = self.shape
        if self.mirror is not None:
            return self.mirror.nbytes_in_memory
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
        chosen = OOMMatrix(
            self.source,
            self.selection.take(rows, columns),
            self.chain.take(rows, columns),
            self.statistics.take(rows, columns, of=self),
            Copies(above=self.copies, same_rows=rows is None),
        )
        chosen.mirror = None if self.mirror is None else self.mirror.select(columns, rows)
        return chosen

    def transform(self, step: Transform) -> OOMMatrix:
        """Return this matrix with one more lazy step."""
        chain, statistics = self.chain.append(step), self.statistics.keep(step.kept_statistics)
        changed = OOMMatrix(self.source, self.selection, chain, statistics, self.copies)
        changed.mirror = self.mirror.transform(step) if self.mirror is not None and step.is_uniform else None
        return changed

    def copy(self, order: str = "C") -> OOMMatrix:
        """Return itself: it cannot change."""
        return self

    def __copy__(self) -> OOMMatrix:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OOMMatrix:
        return self

    def tocsr(self, copy: bool = False) -> OOMMatrix:  # noqa: FBT001, FBT002
        """Return itself, by rows; lazy."""
        if self.is_dense:
            raise self._no_attribute("tocsr")  # noqa: EM101
        return self if self.format == "csr" else self.transform(HeldByRows())

    # -- values

    def to_memory(self) -> sparse.csr_matrix | sparse.csc_matrix | sparse.csr_array | sparse.csc_array | NDArray:
        """Bring all values into memory, as anndata would hold them there.

        Column-compressed where scanpy would hold them so, and as sparse arrays if such were given, or if
        ``anndata.settings.use_sparse_array_on_read``.

        Raises
        ------
        MemoryBudgetExceeded
            If they take more than ``settings.memory_limit``.
        """
        if self.mirror is not None:
            return as_held(self, self.mirror.to_memory().T)
        return as_held(self, engine().collect(self, dense=self.is_dense, what="to_memory"))

    def __getitem__(self, index: Any) -> Any:
        return take_values(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        msg = (
            "A matrix that stays on disk cannot be assigned to. Set a new one instead, such as "
            "`adata.X = adata.X.minimum(10)`, or bring it into memory first, `adata.X = adata.X.to_memory()`. "
            "Of a view, set X on a copy (`adata = adata[...].copy()`), or let anndata make one "
            "(`anndata.settings.copy_on_write_X = True`, as it does from 0.13 on; 0.12.6 cannot)."
        )
        raise TypeError(msg)

    def __iter__(self) -> Iterator[Any]:
        step = max(1, 2**22 // max(self.shape[1], 1))
        for start in range(0, self.shape[0], step):
            rows = normalize_axis_index(slice(start, start + step), self.shape[0])
            block = self.select(rows).to_memory()
            yield from block

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

    def _repr_html_(self) -> str:
        from .card import matrix_card

        return matrix_card(self).html()
