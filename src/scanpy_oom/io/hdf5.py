"""Matrices in HDF5 files; row-compressed ones (CSR) in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from ..errors import CorruptFileError, MemoryBudgetExceeded
from ..settings import format_bytes, settings
from .array import StoredArray, wrong_offsets
from .convert import CheckIndices, ToValues
from .locks import ForkSafeLock
from .runs import Runs, element_runs, row_runs, selected_offsets
from .source import CSRBlock, Source, kernel_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    import h5py
    from numpy.typing import NDArray

    from .file import SourceFile, Stamp

__all__ = ["CSRSource", "CompressedArrays", "HDF5Source"]

_ENTRY_NBYTES = 12  # of an entry that was read: its index and its value
_LARGE = 2**24  # bytes from which a block is held against the memory limit


class HDF5Source(Source):
    """A matrix in an HDF5 file.

    It pickles as the path and the name of the matrix, and opens the file again where it is unpickled.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    name
        Name of the matrix in the file, as in `"/layers/counts"`.
    """

    def __init__(self, file: SourceFile, name: str) -> None:
        self.file = file
        self.name = name
        self.path = file.path
        self.location = f"{file.path.name}:{name}"

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from the file so far, as stored there (compressed)."""
        return self.file.counter.total

    def check_open(self) -> None:
        """Raise ValueError if the source is closed, CorruptFileError if the file is another; for who reads a copy."""
        with self.file.unchanged():
            pass

    def close(self) -> None:
        """Release the file. Reading from a closed source raises ValueError."""
        self.file.close()

    def __reduce__(self) -> tuple[Callable[..., Source], tuple[str, str, Stamp]]:
        return self.file.reopener(), (str(self.path), self.name, self.file.stamp)


class CompressedArrays:
    """The three arrays of a compressed sparse matrix, of which the `major` axis is compressed.

    Parameters
    ----------
    file
        The file.
    group
        The group that holds `indptr`, `indices` and `data`, open with h5py; only its description is kept.
    n_major, n_minor
        Length of the compressed axis (rows for CSR), and of the other.

    Raises
    ------
    CorruptFileError
        If the three do not make up a matrix.
    OOMError
        If they lie in several files.
    """

    def __init__(self, file: SourceFile, group: h5py.Group, n_major: int, n_minor: int) -> None:
        self.file = file
        self.location = f"{file.path}: {group.name}"
        self.n_major, self.n_minor = n_major, n_minor
        for key in ("indptr", "indices", "data"):
            if key not in group:
                self._fail(f"has no {key}")
            file.check_holds(group, key)
            if not hasattr(group[key], "ndim"):
                self._fail(f"has a group as {key}")
            if group[key].ndim != 1 or (key != "data" and group[key].dtype.kind not in "iu"):
                self._fail(f"has {group[key].dtype} values of shape {group[key].shape} as {key}")
        self.dtype = np.dtype(group["data"].dtype.str).newbyteorder("=")
        values = kernel_dtype(self.dtype)
        self._data = StoredArray(file, group["data"], values, ToValues(values, f"{self.location}/data"))
        self._indices = StoredArray(
            file, group["indices"], np.dtype(np.int32), CheckIndices(f"{self.location}/indices", n_minor)
        )
        self._indptr = StoredArray(
            file, group["indptr"], np.dtype(np.int64), ToValues(np.dtype(np.int64), self.location)
        )
        if len(self._data) != len(self._indices):
            self._fail(f"has {len(self._indices)} indices for {len(self._data)} values")
        if len(self._indptr) != n_major + 1:
            self._fail(f"has an indptr of {len(self._indptr)} entries where {n_major + 1} are expected")
        self._lock = ForkSafeLock()
        self._offsets: NDArray[Any] | None = None

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return len(self._data)

    @property
    def nbytes(self) -> int:
        """Bytes that the three arrays take in the file."""
        return sum(array.chunks.nbytes for array in (self._data, self._indices, self._indptr))

    @property
    def compression(self) -> str:
        """Name of the compression of the values."""
        return self._data.chunks.pipeline.compression

    @property
    def n_readers(self) -> int:
        """Threads that may read runs of rows at once, so that each chunk is still decoded once."""
        return min(self._data.n_readers, self._indices.n_readers)

    def offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Give the verified `indptr`, in the narrowest type that holds it."""
        with self._lock:
            if self._offsets is None:
                with self.file.unchanged():
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
        with self.file.unchanged():
            elements = element_runs(runs, offsets)
            self._check_fits(runs, elements.size)
            # widened while they are copied out of their chunks, which costs nothing
            data = self._data.read(elements, np.dtype(np.float64))
            return CSRBlock(selected_offsets(runs, offsets), self._indices.read(elements), data)

    def _check_fits(self, runs: Runs, n_entries: int) -> None:
        """Raise MemoryBudgetExceeded if one block is more than memory may hold: a row may be of any length."""
        nbytes = _ENTRY_NBYTES * n_entries
        if nbytes > _LARGE and nbytes > settings.memory_limit:
            msg = (
                f"{self.location} stores {n_entries} entries from {runs.starts[0]} to {runs.stops[-1]} along its "
                f"compressed axis, which take {format_bytes(nbytes)} when they are read; settings.memory_limit is "
                f"{format_bytes(settings.memory_limit)}. Raise the limit, or read fewer at a time."
            )
            raise MemoryBudgetExceeded(msg)

    def read_elements(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Read the indices and values of a range of stored entries."""
        runs = Runs(np.array([start]), np.array([stop]))
        with self.file.unchanged():
            return self._indices.read(runs), self._data.read(runs)

    def read_indices(self, start: int, stop: int) -> NDArray[np.int32]:
        """Read the indices of a range of stored entries."""
        with self.file.unchanged():
            return self._indices.read(Runs(np.array([start]), np.array([stop])))

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


class CSRSource(HDF5Source):
    """A row-compressed matrix in an HDF5 file.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    group
        The group that holds the matrix, open with h5py; only its description is kept.
    shape
        Number of rows and of columns.
    """

    format = "csr"

    def __init__(self, file: SourceFile, group: h5py.Group, shape: tuple[int, int]) -> None:
        super().__init__(file, group.name)
        self.shape = shape
        self._arrays = CompressedArrays(file, group, *shape)
        self.dtype = self._arrays.dtype
        self.nnz = self._arrays.nnz
        self.nbytes = self._arrays.nbytes
        self.compression = self._arrays.compression
        self.n_readers = self._arrays.n_readers

    def prepared(self) -> Self:
        """Begin a pass."""
        self._arrays.begin()
        return self

    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row."""
        return self._arrays.offsets()

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        return self._arrays.read(row_runs(rows, self.shape[0]))

    def close(self) -> None:
        """Release the file. Reading from a closed source raises ValueError."""
        self._arrays.close()
        super().close()
