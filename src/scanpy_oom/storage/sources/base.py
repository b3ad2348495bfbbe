"""The interface of sources: the shape of a stored matrix, and reads of blocks of its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from ..abc import ReadCost
from ..arrays.blocks import CSRBlock, is_supported_dtype, kernel_dtype
from ..byte_counter import ByteCounter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["ByteCounter", "CSRBlock", "ReadCost", "Source", "is_supported_dtype", "kernel_dtype"]


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
    backend
        Kind of storage: `"hdf5"`, `"zarr"`, `"memory"`, `"scratch"`, or what a plugin calls its own.
    supports_columns
        Whether columns can be read as they are stored: :meth:`column_offsets` and :meth:`read_columns` give them.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    format: Literal["csr", "csc", "dense"]
    nnz: int
    nbytes: int
    location: str
    path: Path | None
    compression: str
    row_alignment: int = 1
    byteorder: Literal["<", ">", "=", "|"] = "="
    holds_arrays: bool | None = None
    backend: str = "other"
    supports_columns: bool = False

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
        """Places of its parts, if it is made of several."""
        return (self.location,)

    @property
    def is_slow(self) -> bool:
        """True if reading it takes so long that a pass had best leave a copy: what inflates."""
        return self.compression != "none" and self.format != "csc"

    @property
    def nnz_is_exact(self) -> bool:
        """True if `nnz` and :meth:`row_offsets` count just what is read, or more."""
        return True

    def prepared(self) -> Source:
        """Return what a pass reads from: this, or the same with what reading takes made once."""
        return self

    @property
    def has_rows(self) -> bool:
        """True if rows can be read, and their entries counted, without a pass over all columns before."""
        return True

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

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched for rows: here, their share of the bytes, which is never certain.

        Parameters
        ----------
        rows
            Row numbers, not decreasing; None for all.
        n_blocks, n_threads
            In how many blocks they are read, and by how many threads.
        """
        if rows is None or not self.has_rows:
            return ReadCost(self.nbytes, certain=False)
        bands = -(-self.shape[0] // self.row_alignment)
        touched = np.unique(rows // self.row_alignment).size
        return ReadCost(self.nbytes * touched // max(bands, 1), certain=False)

    def estimate_read_columns(self, columns: NDArray[np.intp] | None = None) -> ReadCost:
        """Estimate what is fetched for columns: here, their share of the stored entries, which is never certain.

        Parameters
        ----------
        columns
            Column numbers in any order; None for all.
        """
        offsets = self.column_offsets()
        if columns is None or offsets is None:
            return ReadCost(self.nbytes, certain=False)
        chosen = np.unique(columns)
        entries = int(np.subtract(offsets[chosen + 1], offsets[chosen], dtype=np.int64).sum())
        return ReadCost(self.nbytes * entries // max(self.nnz, 1), certain=False)

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
