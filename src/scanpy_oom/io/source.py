"""What the rest of the package knows of a matrix on disk: its shape, and how to fetch blocks of its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .locks import ForkSafeLock

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["ByteCounter", "CSRBlock", "Source", "is_supported_dtype", "kernel_dtype"]


@dataclass(slots=True, eq=False)
class CSRBlock:
    """A run of rows, row-compressed.

    The arrays belong to whoever asked for the block and may be overwritten. Within a row, columns come in the order
    in which they are stored: unsorted columns, duplicates and explicit zeros are legal.

    Parameters
    ----------
    indptr
        Where each row starts in `indices` and `data`: `(n_rows + 1,)`, starts at 0.
    indices
        Column numbers `(nnz,)`, each verified to be within `[0, n_cols)`.
    data
        Values `(nnz,)`, in float64 or in the :func:`kernel_dtype` of the matrix.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32 | np.float64]


def is_supported_dtype(dtype: np.dtype[Any]) -> bool:
    """Tell whether matrices of this dtype can be streamed: booleans, integers, floats of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def kernel_dtype(dtype: np.dtype[Any]) -> np.dtype[np.float32] | np.dtype[np.float64]:
    """Give the narrower of float32 and float64 in which kernels compute on values of `dtype`.

    float32 holds booleans, integers of up to 16 bits and floats of up to 32 bits exactly; everything else becomes
    float64.
    """
    narrow = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32) if narrow else np.dtype(np.float64)


class ByteCounter:
    """A running count of bytes that threads add to."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._total = 0

    def add(self, n: int) -> None:
        """Add `n` bytes."""
        with self._lock:
            self._total += n

    @property
    def total(self) -> int:
        """The bytes counted so far."""
        return self._total


class Source(ABC):
    """One matrix, and how blocks of its rows are fetched.

    Attributes
    ----------
    shape
        Number of rows and of columns.
    dtype
        Type of the values as anndata gives it in memory, in native byte order.
    format
        How the matrix is stored.
    nnz
        Stored entries; for a dense matrix rows times columns.
    nbytes
        Bytes that the matrix takes where it is stored.
    location
        Where it is, for messages, as in `"pbmc.h5ad:/X"`.
    path
        The file that holds it, if one does.
    compression
        Name of the compression filter, or `"none"`.
    row_alignment
        Reads that start and stop at multiples of this number of rows decode nothing twice.
    byteorder
        Of the values as anndata gives them in memory: that of the file, in arrays.
    holds_arrays
        Whether it is, in memory, one of SciPy's sparse arrays, if it is sparse; None if that is a matter of
        ``anndata.settings``.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    format: Literal["csr", "csc", "dense"]
    nnz: int
    nbytes: int
    location: str
    path: Path | None
    compression: str
    row_alignment: int = 1
    byteorder: Literal["<", ">", "=", "|"] = "="
    holds_arrays: bool | None = None

    @property
    @abstractmethod
    def bytes_read(self) -> int:
        """Bytes fetched from the file so far, as stored there (compressed)."""

    @abstractmethod
    def row_offsets(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Count the stored entries that precede each row.

        Returns
        -------
        `(n_rows + 1,)`, starts at 0, never decreases. Read-only, computed once. For a dense matrix every entry counts
        as stored.
        """

    @abstractmethod
    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows. Threads may call at once; the GIL is released where the time goes.

        Parameters
        ----------
        rows
            A slice with step 1, or strictly increasing row numbers.

        Raises
        ------
        CorruptFileError
            If the file is truncated, has changed since it was opened, or holds impossible values.
        """

    @property
    def locations(self) -> tuple[str, ...]:
        """Where its parts are, if it is made of several."""
        return (self.location,)

    @property
    def is_slow(self) -> bool:
        """Whether reading it takes so long that a pass had best leave a copy: what inflates."""
        return self.compression != "none" and self.format != "csc"

    @property
    def nnz_is_exact(self) -> bool:
        """Whether `nnz` and :meth:`row_offsets` count just what is read, or more."""
        return True

    def prepared(self) -> Source:
        """Return what a pass reads from: this, or the same with what reading takes made once."""
        return self

    def column_offsets(self) -> NDArray[np.integer] | None:
        """Count the stored entries that precede each column, where the source is stored by columns; None elsewhere."""
        return None

    def read_columns(self, columns: slice | NDArray[np.int64]) -> sparse.csc_matrix | None:
        """Fetch columns straight from a column-compressed matrix; `None` where the storage offers no such route.

        Parameters
        ----------
        columns
            A slice with step 1, or strictly increasing column numbers.
        """
        return None

    def check_open(self) -> None:  # noqa: B027 - what lies in memory is always open
        """Raise ValueError if the source is closed, CorruptFileError if the file is another; for who reads a copy."""

    @abstractmethod
    def close(self) -> None:
        """Release files. Reading from a closed source raises ValueError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __repr__(self) -> str:
        n_rows, n_cols = self.shape
        return f"<{type(self).__name__} {self.location}: {n_rows} x {n_cols} {self.dtype}, {self.nnz} stored>"
