"""Matrices one below the other as one source: rows stay where they are, columns get new numbers on the way."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from scipy import sparse

from ...kernels import sort_columns
from ...matrix import OOMMatrix
from ...matrix.transforms.representation import DropZeros
from ...storage.arrays.blocks import stacked
from ...storage.arrays.ranges import row_runs
from ...storage.sources.base import CSRBlock, ReadCost, Source
from ..block import BlockReader, fetch
from ..cache.policy import choose_reader
from ..column_selector import ColumnChoice
from ..partition import Rows
from ..reader import SourceReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


__all__ = ["JoinedSource", "Part", "below", "below_one_another", "in_order", "without_zeros"]

_NAMED = 3
"""Parts that are named in messages."""


@dataclass(frozen=True, eq=False)
class Part:
    """One of the matrices that are joined.

    Parameters
    ----------
    matrix
        Its rows, in the order of its own source and each once, and those of its columns that are kept.
    columns
        `(n_kept,)`: their numbers among the columns of all.
    fill_columns, fill_values
        Numbers of columns that it lacks and that are not zero in its rows, and their values there.
    """

    matrix: OOMMatrix
    columns: NDArray[np.int32]
    fill_columns: NDArray[np.int32]
    fill_values: NDArray[np.float64]

    @property
    def is_full(self) -> bool:
        """True if any value of its columns may be an entry: its zeros have become other values."""
        return self.matrix.chain.fill_values is not None

    @property
    def nnz(self) -> int:
        """Entries that its rows have, at most."""
        n_rows, n_columns = self.matrix.shape
        return (n_rows * n_columns if self.is_full else self.matrix.stored) + n_rows * self.fill_columns.size

    @property
    def nnz_is_exact(self) -> bool:
        """True if that is just what is read."""
        source = self.matrix.source
        all_columns = self.matrix.selection.columns is None and not self.matrix.chain.drops_zeros
        return all_columns and not self.is_full and source.format != "dense" and source.nnz_is_exact

    def row_lengths(self) -> NDArray[np.integer]:
        """Return the entries of each row, at most."""
        n_rows, n_columns = self.matrix.shape
        if self.is_full:
            return np.full(n_rows, n_columns + self.fill_columns.size)
        offsets, rows = self.matrix.source.row_offsets(), self.matrix.selection.rows
        lengths = np.diff(offsets) if rows is None else offsets[rows + 1] - offsets[rows]
        return lengths + self.fill_columns.size

    def source_rows(self, rows: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
        """Return the numbers in its source of some of its rows; None for all that there are."""
        own = self.matrix.selection.rows
        return own if rows is None else rows if own is None else own[rows]


class _PartReader:
    """Reads rows of a part during one pass. Serves several threads at once."""

    def __init__(self, part: Part, n_columns: int) -> None:
        matrix = part.matrix
        self._n_columns = n_columns
        self._part = part
        self._reader = choose_reader([matrix])
        self._block_reader = BlockReader(matrix, self._reader.columns)
        self._choice = ColumnChoice(matrix.selection, self._reader.columns)
        self._at_once = self._choice.repeated is None and not self._block_reader.needs_other_columns
        self._sorts = bool(part.fill_columns.size) or self._choice.reorders
        in_place = np.array_equal(part.columns, np.arange(part.columns.size))
        self._renumber = None if in_place else part.columns

    def read(self, numbers: NDArray[np.intp]) -> CSRBlock:
        """Fetch rows of the part, ascending, transformed and with the columns of all."""
        first, last = int(numbers[0]), int(numbers[-1])
        in_a_row = last - first == numbers.size - 1
        positions = slice(first, last + 1) if in_a_row else numbers
        rows = Rows(first, positions, self._part.matrix.selection.source_rows(positions))
        block = self._block_reader.read(self._fetch(rows), rows)
        if self._part.is_full:
            full = sparse.csr_matrix(block.toarray())
            numbered = CSRBlock(full.indptr.astype(np.int64), self._part.columns[full.indices], full.data)
        else:
            indices = block.indices if self._renumber is None else self._renumber[block.indices]
            numbered = CSRBlock(block.indptr, indices, block.values)
        if self._part.matrix.chain.drops_zeros:
            numbered = without_zeros(numbered)
        filled = _filled(numbered, self._part)
        return _sorted(filled, self._n_columns) if self._sorts else filled

    def _fetch(self, rows: Rows) -> CSRBlock:
        if self._at_once:
            return fetch(self._reader, rows, self._choice)
        raw = fetch(self._reader, rows)
        self._block_reader.complete_totals(raw, rows)
        return self._choice.select(raw)


class JoinedSource(Source):
    """Matrices one below the other.

    Each part is read from where it lies, once a pass, and its own chain is run on what is read; so parts may differ in
    columns, dtype, storage and transforms.

    Parameters
    ----------
    parts
        The matrices, from top to bottom.
    n_columns
        Columns of all.
    dtype
        Type of the values of all.
    kind
        What it would be in memory: an array, or one of SciPy's sparse arrays or matrices.
    """

    def __init__(self, parts: Sequence[Part], n_columns: int, dtype: np.dtype, kind: type) -> None:
        self.parts = tuple(parts)
        self._starts = np.concatenate([[0], np.cumsum([part.matrix.shape[0] for part in self.parts], dtype=np.int64)])
        self.shape = (int(self._starts[-1]), n_columns)
        self.dtype = dtype
        self.format: Literal["csr", "csc", "dense"] = "dense" if kind is np.ndarray else "csr"
        self.holds_arrays = issubclass(kind, sparse.sparray)
        sources, named = list(self.sources()), self.locations
        self.nbytes = sum(source.nbytes for source in sources)
        self.location = " + ".join(named[:_NAMED]) + (f" + {len(named) - _NAMED} more" if len(named) > _NAMED else "")
        self.path = next((source.path for source in sources if source.path is not None), None)
        self.backend = ", ".join(dict.fromkeys(source.backend for source in sources)) or "memory"
        filters = dict.fromkeys(source.compression for source in sources if source.compression != "none")
        self.compression = ", ".join(filters) or "none"
        self._readers: list[_PartReader] | None = None
        self._offsets: NDArray[np.int32] | NDArray[np.int64] | None = None

    def sources(self) -> Iterator[Source]:
        """Yield the source of each part, one that several parts share once."""
        yield from {id(part.matrix.source): part.matrix.source for part in self.parts}.values()

    @property
    def locations(self) -> tuple[str, ...]:
        """Where the parts are."""
        return tuple(dict.fromkeys(location for source in self.sources() for location in source.locations))

    @property
    def is_slow(self) -> bool:
        """True if a part is slow to read, and is not read from a copy."""
        slow = (part.matrix for part in self.parts if part.matrix.source.is_slow)
        return any(isinstance(choose_reader([matrix]), SourceReader) for matrix in slow)

    @property
    def nnz(self) -> int:  # type: ignore[override]
        """Stored entries, at most; for a dense matrix rows times columns."""
        return self.shape[0] * self.shape[1] if self.format == "dense" else sum(part.nnz for part in self.parts)

    @property
    def nnz_is_exact(self) -> bool:
        """True if that is just what is read."""
        return self.format == "dense" or all(part.nnz_is_exact for part in self.parts)

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from the files so far."""
        return sum(source.bytes_read for source in self.sources())

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row, at most."""
        if self._offsets is None:
            self._offsets = self._counted()
        return self._offsets

    def _counted(self) -> NDArray[Any]:
        offsets = np.zeros(self.shape[0] + 1, dtype=np.int32 if self.nnz < 2**31 else np.int64)
        if self.format == "dense":
            offsets[1:] = self.shape[1]
        else:
            for start, stop, part in zip(self._starts, self._starts[1:], self.parts, strict=False):
                offsets[start + 1 : stop + 1] = part.row_lengths()
        np.cumsum(offsets, out=offsets)
        offsets.flags.writeable = False
        return offsets

    def split(self, rows: NDArray[np.int64] | None) -> Iterator[tuple[int, NDArray[np.int64] | None]]:
        """Yield each part that has some of these rows, which ascend, with their numbers in it; None for all rows."""
        if rows is None:
            yield from ((k, None) for k in range(len(self.parts)))
            return
        cuts = np.searchsorted(rows, self._starts)
        for k in np.flatnonzero(np.diff(cuts)):
            yield int(k), rows[cuts[k] : cuts[k + 1]] - self._starts[k]

    def prepared(self) -> Self:
        """Return the same for the time of a pass, with what reading each part takes made once."""
        ready = copy.copy(self)
        ready._readers = [_PartReader(part, self.shape[1]) for part in self.parts]
        return ready

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows, each part of them from its source."""
        readers = self._readers or self.prepared()._readers or []
        numbers = row_runs(rows, self.shape[0]).numbers()
        if isinstance(numbers, slice):
            numbers = np.arange(numbers.start, numbers.stop, dtype=np.int64)
        return stacked([readers[k].read(own) for k, own in self.split(numbers) if own is not None])

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows: for those of each part, unless they come from a copy in the cache."""
        nbytes, certain = 0, True
        for k, own in self.split(rows):
            part = self.parts[k]
            if isinstance(choose_reader([part.matrix]), SourceReader):
                cost = part.matrix.source.estimate_read(part.source_rows(own), n_blocks, n_threads)
                nbytes, certain = nbytes + cost.nbytes, certain and cost.certain
        return ReadCost(nbytes, certain)

    def check_open(self) -> None:
        """Raise ValueError if a file is closed, CorruptFileError if one is another."""
        for source in self.sources():
            source.check_open()

    def close(self) -> None:
        """Release the files of all parts."""
        for source in self.sources():
            source.close()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_readers": None, "_offsets": None}


def without_zeros(block: CSRBlock) -> CSRBlock:
    """Leave zeros out that are stored."""
    kept = block.data != 0
    return CSRBlock(np.append(0, np.cumsum(kept))[block.indptr], block.indices[kept], block.data[kept])


def _filled(block: CSRBlock, part: Part) -> CSRBlock:
    """Add to each row the values of columns that the part lacks."""
    n_fill, n_rows = part.fill_columns.size, block.indptr.size - 1
    if not n_fill:
        return block
    indptr = block.indptr + np.arange(n_rows + 1) * n_fill
    indices, data = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1])
    filled = (indptr[1:, None] + np.arange(-n_fill, 0)).reshape(-1)
    indices[filled], data[filled] = np.tile(part.fill_columns, n_rows), np.tile(part.fill_values, n_rows)
    stored = np.arange(block.indices.size) + np.repeat(np.arange(n_rows) * n_fill, np.diff(block.indptr))
    indices[stored], data[stored] = block.indices, block.data
    return CSRBlock(indptr, indices, data)


def _sorted(block: CSRBlock, n_columns: int) -> CSRBlock:
    """Put the columns of each row in ascending order."""
    indices, data = np.empty_like(block.indices), np.empty(block.indices.size)
    values = block.data.astype(np.float64, copy=False)
    sort_columns(block.indptr, block.indices, values, n_columns, indices, data)
    return CSRBlock(block.indptr, indices, data)


def below_one_another(
    matrices: Sequence[OOMMatrix],
    columns: Sequence[NDArray[np.intp]],
    fills: Callable[[int], NDArray[np.number | np.bool_]],
    dtype: np.dtype,
    kind: type,
) -> OOMMatrix:
    """Join matrices, lazily: one below the other, in this order.

    Parameters
    ----------
    matrices
        What to join.
    columns
        For each of them, `(n_columns,)`: which of its columns stands in each column of the result; -1 for none.
    fills
        Gives, by the number of a matrix, the `(n_columns,)` values of its rows in columns that it lacks.
    dtype, kind
        Type of the values, and what the result would be in memory: an array, or a sparse array or matrix.
    """
    parts: list[Part] = []
    rows, n_rows, moved = [], 0, False
    for k, (matrix, of) in enumerate(zip(matrices, columns, strict=True)):
        if (own := _parts_of(matrix, of, dtype, kind)) is not None:
            parts += own
            rows.append(n_rows + np.arange(matrix.shape[0]))
            n_rows += matrix.shape[0]
            continue
        ordered, order = in_order(matrix)
        kept = np.flatnonzero(of >= 0)
        chosen = of[kept]
        everything = np.array_equal(chosen, np.arange(matrix.shape[1]))
        fill = np.where(of < 0, fills(k), 0)
        filled = np.flatnonzero(fill)  # NaN is none
        shown = ordered.select(None, None if everything else chosen)
        as_it_is = everything and of.size == chosen.size
        if not (as_it_is or shown.is_dense or shown.stores_no_zeros):
            shown = shown.transform(DropZeros())  # as the product by which anndata puts columns in their places
        parts.append(Part(shown, kept.astype(np.int32), filled.astype(np.int32), fill[filled].astype(np.float64)))
        rows.append(n_rows + (np.arange(ordered.shape[0]) if order is None else order))
        n_rows, moved = n_rows + ordered.shape[0], moved or order is not None
    joined = OOMMatrix.from_source(JoinedSource(parts, columns[0].size, dtype, kind))
    return joined.select(np.concatenate(rows)) if moved else joined


def _parts_of(matrix: OOMMatrix, columns: NDArray[np.intp], dtype: np.dtype, kind: type) -> tuple[Part, ...] | None:
    """Return the parts of a matrix that is joined of some, and is taken as it is; else None.

    So what is joined to one after the other is no nest. Where there is a copy of the whole, it is not given up.
    """
    source, shown = matrix.source, matrix.selection
    if not isinstance(source, JoinedSource) or matrix.chain.transforms or any(True for _ in matrix.copies):
        return None
    as_it_is = shown.rows is None and shown.columns is None and matrix.transposed_of is None
    same_columns = np.array_equal(columns, np.arange(matrix.shape[1]))
    same = source.dtype == dtype and (source.format == "dense") == (kind is np.ndarray)
    return source.parts if as_it_is and same_columns and same else None


def in_order(matrix: OOMMatrix) -> tuple[OOMMatrix, NDArray[np.intp] | None]:
    """Return the rows in the order of the source, each once, and where each row of the matrix is among them."""
    rows = matrix.selection.rows
    if rows is None or (np.diff(rows) > 0).all():
        return matrix, None
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return matrix.select(first), inverse.reshape(-1)


def below(matrix: OOMMatrix) -> Iterator[OOMMatrix]:
    """Yield a matrix and all of which it is joined."""
    yield matrix
    if isinstance(matrix.source, JoinedSource):
        for part in matrix.source.parts:
            yield from below(part.matrix)
