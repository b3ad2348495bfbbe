"""Writing a matrix in a pass: blocks are read and transformed on threads, and written in the order of the rows."""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..engine.block import stored_rows
from ..engine.budget import LARGEST_BLOCK
from ..engine.compute import compute
from ..engine.reduction import Reduction
from ..storage.hdf5.writer import ArrayWriter, CompressedWriter
from ..storage.scratch.file import check_scratch_space
from ..storage.scratch.reorder import ScratchRows
from .collect import CollectSparse
from .write_parts import PART, StoredLengths, WriteParts, part_size, sorts_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import zarr
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..matrix import OOMMatrix
    from .collect import Piece

__all__ = ["Write", "WriteColumns", "is_written_by_columns", "written_dense"]

_dense_names: ContextVar[Collection[str]] = ContextVar("written_dense", default=())


@contextmanager
def written_dense(names: Collection[str]) -> Iterator[None]:
    """Have matrices of these names, as ``"X"`` or ``"raw/X"``, written as arrays within the context."""
    token = _dense_names.set(names)
    try:
        yield
    finally:
        _dense_names.reset(token)


class Write(Reduction):
    """Writes the values of a matrix.

    Rows that are to be written in another order than that in which they are read go by way of scratch files.

    Parameters
    ----------
    parent, name
        Where it goes.
    dataset_kwargs
        What h5py is given for each dataset.
    """

    in_order = True
    is_final = True
    only_here = "writing rows in another order than that of the file, chunks that are large, or no values"

    def __init__(self, parent: h5py.Group | zarr.Group, name: str, dataset_kwargs: Mapping[str, object]) -> None:
        self._target = (parent, name)
        self._dataset_kwargs = dataset_kwargs
        self._full_name = _full_name(parent, name)
        self._writer: Any = None
        self._scratch: ScratchRows | None = None

    def as_array(self, matrix: OOMMatrix) -> bool:
        """Return whether a matrix is written as an array: if it would be one in memory, or that was asked for."""
        return matrix.is_dense or self._full_name in _dense_names.get()

    def prepare(self, matrix: OOMMatrix) -> None:
        self._dense = self.as_array(matrix)
        self._dtype, (n_rows, self._n_columns) = matrix.dtype_in_memory, matrix.shape
        rows = matrix.selection.rows
        self._drops_zeros = matrix.chain.drops_zeros
        self._sorts = sorts_columns(matrix)
        if rows is not None and (np.diff(rows) < 0).any():
            nbytes = n_rows * self._n_columns * self._dtype.itemsize if self._dense else matrix.nbytes_in_memory
            check_scratch_space(nbytes, f"Writing {matrix!r}, whose rows were reordered,")
            dtypes = [self._dtype] if self._dense else [np.dtype(np.int32), self._dtype]
            self._scratch = ScratchRows(n_rows, dtypes)
        if self._writer is None:
            self._open(matrix)

    def _open(self, matrix: OOMMatrix) -> None:
        kind = _writers(self._target[0])[0 if self.as_array(matrix) else 1]
        self._writer = kind(*self._target, matrix.shape, matrix.dtype_in_memory, self._dataset_kwargs)

    def in_parts(self, matrix: OOMMatrix) -> WriteParts | None:
        """Return what writes the matrix in parts; None for no values, rows in another order, or large chunks."""
        rows = matrix.selection.rows
        if rows is not None and (np.diff(rows) < 0).any():
            return None
        self._open(matrix)
        width, itemsize = matrix.shape[1] if self.as_array(matrix) else 0, matrix.dtype_in_memory.itemsize
        nbytes = width * itemsize or 4 + itemsize
        steps = self._writer.steps()
        if math.lcm(*steps) * nbytes > PART:
            return None
        # counted, as entries that are stored more than once are summed where they are read
        lengths = np.ones(matrix.shape[0], dtype=np.int64) if width else compute(matrix, StoredLengths())
        if not lengths.any():
            return None
        size = part_size(steps, lengths, nbytes)
        encoders = self._writer.in_parts() if width else self._writer.in_parts(lengths)
        return WriteParts(self._writer, encoders, np.concatenate([[0], np.cumsum(lengths)]), size, width=width)

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        if self._dense:
            for start, rows in block.dense_rows():
                self._put_dense(block.positions, start, rows.astype(self._dtype, copy=False))
            return
        stored = stored_rows(block, sorts=self._sorts, drops_zeros=self._drops_zeros)
        indptr, indices, values = stored.indptr, stored.indices, stored.data.astype(self._dtype, copy=False)
        if self._scratch is None:
            self._writer.append(indptr, indices, values)
        else:
            self._scratch.put(block.positions, np.diff(indptr), [indices, values])

    def _put_dense(self, positions: slice | NDArray[np.intp], start: int, rows: np.ndarray) -> None:
        if self._scratch is None:
            self._writer.append(rows)
        else:
            assert not isinstance(positions, slice)
            lengths = np.full(rows.shape[0], self._n_columns)
            self._scratch.put(positions[start : start + rows.shape[0]], lengths, [rows.reshape(-1)])

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> None:
        if self._scratch is not None:
            for lengths, arrays in self._scratch.take(LARGEST_BLOCK):
                if self._dense:
                    self._writer.append(arrays[0].reshape(lengths.size, self._n_columns))
                else:
                    self._writer.append(np.concatenate([[0], np.cumsum(lengths)]), *arrays)
        self._writer.close()

    def close(self) -> None:
        """Let go of threads and scratch files, whether it came to its end or not."""
        if self._writer is not None:
            self._writer.discard()
            if self._scratch is not None:
                self._scratch.close()


def is_written_by_columns(matrix: OOMMatrix, parent: h5py.Group | zarr.Group, name: str) -> bool:
    """Return whether `matrix` is column-compressed, as anndata would hold and write it in memory, and is written so."""
    by_columns = matrix.format_in_memory == "csc" and matrix.source.supports_columns
    dense = matrix.chain.fill_values is not None or _full_name(parent, name) in _dense_names.get()
    return by_columns and not dense


class WriteColumns(Reduction):
    """Writes the values of a column-compressed matrix, some columns at a time.

    Parameters
    ----------
    parent, name, dataset_kwargs
        As those of :class:`Write`.
    matrix
        The whole of it.
    """

    by_columns = needs_columns = True
    is_final = True
    only_here = "writing a file"

    def __init__(
        self, parent: h5py.Group | zarr.Group, name: str, dataset_kwargs: Mapping[str, object], matrix: OOMMatrix
    ) -> None:
        kind = _writers(parent)[1]
        self._writer = kind(parent, name, matrix.shape, matrix.dtype, dataset_kwargs, "csc")
        self._collect = CollectSparse("write")

    def prepare(self, matrix: OOMMatrix) -> None:
        if not matrix.source.supports_columns:  # some of the columns, in memory
            self._collect.check_room(matrix)
            self._collect.prepare(matrix)

    def partial(self) -> list[Piece]:
        return self._collect.partial()

    def update(self, partial: list[Piece], block: Block) -> None:
        self._collect.update(partial, block)

    def merge(self, total: list[Piece], partial: list[Piece]) -> list[Piece]:
        return self._collect.merge(total, partial)

    def result(self, total: list[Piece]) -> None:
        columns = self._collect.result(total).tocsc()
        self._writer.append(columns.indptr, columns.indices, columns.data)

    def join(self, results: list[None]) -> None:
        """Write what waits."""
        self._writer.close()

    def close(self) -> None:
        """Let go of threads, whether it came to its end or not."""
        self._writer.discard()


def _full_name(parent: h5py.Group | zarr.Group, name: str) -> str:
    return str(PurePosixPath(parent.name) / name).strip("/")


def _writers(parent: h5py.Group | zarr.Group) -> tuple[Any, Any]:
    """Return what writes arrays and what writes sparse matrices to the kind of file in which `parent` is."""
    if isinstance(parent, h5py.Group):
        return ArrayWriter, CompressedWriter
    from ..storage.zarr.writer import ZarrArrayWriter, ZarrCompressedWriter

    return ZarrArrayWriter, ZarrCompressedWriter
