"""The three arrays of a compressed sparse matrix, of rows (CSR) or of columns (CSC)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ...errors import CorruptFileError, MemoryBudgetExceeded
from ...memory.fork_lock import fork_safe_lock
from ...settings import format_bytes, settings
from ..abc import ReadCost
from ..nodes import is_array
from .array_reader import StoredArray, wrong_offsets
from .blocks import CSRBlock, kernel_dtype
from .ranges import Runs, element_runs, selected_offsets
from .validation import CheckIndices, ToValues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Container, Floats
    from ..nodes import ArrayNode, GroupNode

__all__ = ["CompressedArrays"]

_ENTRY_NBYTES = 12  # of an entry that was read: its index and its value
_LARGE = 2**24  # bytes from which a block is held against the memory limit


class CompressedArrays:
    """The three arrays of a compressed sparse matrix, of which the `major` axis is compressed.

    Parameters
    ----------
    container
        What holds them.
    group
        The group of `indptr`, `indices` and `data`; only its description is kept.
    n_major, n_minor
        Length of the compressed axis (rows for CSR), and of the other.

    Raises
    ------
    CorruptFileError
        If the three do not make up a matrix.
    OOMError
        If they lie in several files.
    """

    def __init__(self, container: Container, group: GroupNode, n_major: int, n_minor: int) -> None:
        self.container = container
        self.location = f"{container.path}: {group.name}"
        self.n_major, self.n_minor = n_major, n_minor
        found = {key: self._found(group, key) for key in ("indptr", "indices", "data")}
        self.dtype = np.dtype(found["data"].dtype.str).newbyteorder("=")
        values, index, offset = kernel_dtype(self.dtype), np.dtype(np.int32), np.dtype(np.int64)
        of_values = ToValues(values, f"{self.location}/data")
        of_indices = CheckIndices(f"{self.location}/indices", n_minor)
        self._data = StoredArray(container.open_array(found["data"]), values, of_values)
        self._indices = StoredArray(container.open_array(found["indices"]), index, of_indices)
        self._indptr = StoredArray(container.open_array(found["indptr"]), offset, ToValues(offset, self.location))
        if len(self._data) != len(self._indices):
            self._fail(f"has {len(self._indices)} indices for {len(self._data)} values")
        if len(self._indptr) != n_major + 1:
            self._fail(f"has an indptr of {len(self._indptr)} entries where {n_major + 1} are expected")
        self._lock = fork_safe_lock()
        self._offsets: NDArray[np.int32] | NDArray[np.int64] | None = None
        self._warned = False

    def _found(self, group: GroupNode, key: str) -> ArrayNode:
        """Look up one of the three, and hold it to be what it must be."""
        if key not in group:
            self._fail(f"has no {key}")
        self.container.check_holds(group, key)
        node = group[key]
        if not is_array(node):
            self._fail(f"has a group as {key}")
        if node.ndim != 1 or (key != "data" and node.dtype.kind not in "iu"):
            self._fail(f"has {node.dtype} values of shape {node.shape} as {key}")
        return node

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return len(self._data)

    @property
    def nbytes(self) -> int:
        """Bytes that the three arrays take in the file."""
        return sum(array.chunks.nbytes for array in (self._data, self._indices, self._indptr))

    @property
    def indices_nbytes(self) -> int:
        """Bytes that the indices alone take there."""
        return self._indices.chunks.nbytes

    @property
    def compression(self) -> str:
        """Name of the compression of the values."""
        return self._data.chunks.compression

    @property
    def n_readers(self) -> int:
        """Threads that may read runs of rows at once, so that each chunk is still decoded once."""
        return min(self._data.n_readers, self._indices.n_readers)

    def offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Give the verified `indptr`, in the narrowest type that holds it."""
        with self._lock:
            if self._offsets is None:
                with self.container.unchanged():
                    self._offsets = self._read_offsets()
            return self._offsets

    def _read_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        indptr = self._indptr.read_all()
        if wrong := wrong_offsets(indptr, self.nnz):
            self._fail(wrong)
        offsets = indptr.astype(np.int32) if self.nnz <= np.iinfo(np.int32).max else indptr
        offsets.flags.writeable = False
        return offsets

    def read(self, runs: Runs) -> CSRBlock:
        """Read runs along the compressed axis."""
        offsets = self.offsets()
        with self.container.unchanged():
            elements = element_runs(runs, offsets)
            self._check_fits(runs, elements.size)
            # widened while they are copied out of their chunks, which costs nothing
            data = self._data.read(elements, np.dtype(np.float64))
            indices = self._indices.read(elements)
        self._check_stored()
        return CSRBlock(selected_offsets(runs, offsets), indices, data)

    def _check_stored(self) -> None:
        """Refuse zeros for chunks that are not stored where there can be none: as indices of one row or column.

        Values may be zeros; there it is said.
        """
        if self._data.chunks.unstored and not self._warned:
            self._warned = True
            msg = f"{self.location}/data lacks some chunks. Their values are read as zeros, as zarr reads them"
            warnings.warn(msg, UserWarning, stacklevel=2)
        chunks = self._indices.chunks
        if not chunks.unstored:
            return
        offsets, (size,) = self.offsets(), chunks.chunk_shape
        for i in sorted(chunks.unstored):
            start, stop = i * size, min((i + 1) * size, self.nnz)
            first, last = np.searchsorted(offsets, [start, stop - 1], side="right")
            if stop - start > last - first + 1:
                self._fail(f"has no chunk of indices that starts at {start}")

    def _check_fits(self, runs: Runs, n_entries: int) -> None:
        """Raise MemoryBudgetExceeded if one block is more than memory may hold: a row may be of any length."""
        nbytes = _ENTRY_NBYTES * n_entries
        if nbytes > _LARGE and nbytes > settings.memory_limit:
            msg = (
                f"{self.location} stores {n_entries} values in rows {runs.starts[0]} to {runs.stops[-1] - 1} (columns, "
                f"if the matrix is CSC), which take {format_bytes(nbytes)} when they are read. "
                f"settings.memory_limit is {format_bytes(settings.memory_limit)}. "
                "Raise the limit, or read fewer rows or columns at a time."
            )
            raise MemoryBudgetExceeded(msg)

    def read_elements(self, start: int, stop: int) -> tuple[NDArray[np.int32], Floats]:
        """Read the indices and values of a range of stored entries."""
        runs = Runs(np.array([start]), np.array([stop]))
        with self.container.unchanged():
            found = self._indices.read(runs), self._data.read(runs)
        self._check_stored()
        return found

    def read_indices(self, start: int, stop: int) -> NDArray[np.int32]:
        """Read the indices of a range of stored entries."""
        with self.container.unchanged():
            indices = self._indices.read(Runs(np.array([start]), np.array([stop])))
        self._check_stored()
        return indices

    def estimate_read(self, major: NDArray[np.intp] | None, n_blocks: int = 1) -> ReadCost:
        """Estimate what is fetched for some rows, or columns, along the compressed axis; None for all.

        Parameters
        ----------
        major
            Their numbers, which ascend.
        n_blocks
            Reads between which the chunk on a border must be kept, for it to be fetched once.
        """
        offsets = self.offsets()
        starts, stops = (offsets[:1], offsets[-1:]) if major is None else (offsets[major], offsets[major + 1])
        filled = stops > starts
        ranges = starts[filled].astype(np.int64), stops[filled].astype(np.int64)
        costs = [array.estimate_read(*ranges, n_blocks) for array in (self._indices, self._data)]
        # of what has been read before, the chunks at the ends of blocks may still be at hand
        is_first = self.container.counter.total <= self._indptr.chunks.nbytes
        return ReadCost(sum(cost.nbytes for cost in costs), is_first and all(cost.certain for cost in costs))

    def begin(self) -> None:
        """Begin a pass."""
        self._data.begin()
        self._indices.begin()

    def close(self) -> None:
        """Release what reading keeps."""
        for array in (self._data, self._indices, self._indptr):
            array.close()

    def _fail(self, what: str) -> NoReturn:
        msg = f"{self.location} {what}. The file is damaged; fetch or write it again."
        raise CorruptFileError(msg)
