"""Matrices that something else reads, rows at a time."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, TypeAlias, cast

import numpy as np
from scipy import sparse

from ...memory.fork_lock import fork_safe_lock
from ..abc import ReadCost
from ..arrays.blocks import CSRBlock, is_supported_dtype, kernel_dtype
from ..arrays.ranges import row_runs
from ..arrays.validation import CheckIndices, ToValues
from ..byte_counter import ByteCounter
from .base import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Rows: TypeAlias = sparse.spmatrix | sparse.sparray | NDArray[np.number | np.bool_]

__all__ = ["ReadsRows", "RowsSource", "row_steps"]

_STEP = 2**24


class ReadsRows(Protocol):
    """Anything that gives rows for a slice with step 1, as a SciPy sparse matrix or a NumPy array."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""

    def __getitem__(self, rows: slice, /) -> Rows: ...


def row_steps(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Cut rows into steps `(start, stop)` of a bounded number of values."""
    n_rows, n_columns = shape
    step = max(1, _STEP // max(n_columns, 1))
    yield from ((start, min(start + step, n_rows)) for start in range(0, n_rows, step))


class RowsSource(Source):
    """A matrix of which only rows can be had, one caller at a time.

    How many entries each row has is known once all have been counted, which takes a pass of its own where rows are
    sparse.

    Parameters
    ----------
    rows
        What reads them.
    location
        What it is, for messages.

    Raises
    ------
    TypeError
        If it gives something else than rows of numbers.
    """

    path = None
    compression = "none"
    backend = "object"

    def __init__(self, rows: ReadsRows, location: str) -> None:
        self.shape = (int(rows.shape[0]), int(rows.shape[1]))
        self.location = location
        self._rows: ReadsRows | None = rows
        self._lock = fork_safe_lock()
        self._counter = ByteCounter()
        first = self._fetch(0, min(1, self.shape[0]))
        self.dtype = first.dtype.newbyteorder("=")
        self.format: Literal["csr", "csc", "dense"] = "csr" if sparse.issparse(first) else "dense"

    @property
    def bytes_read(self) -> int:
        """Bytes that rows took in memory, as they were given."""
        return self._counter.total

    @property
    def is_slow(self) -> bool:
        """Reading takes turns: a pass had best leave a copy."""
        return True

    @cached_property
    def nnz(self) -> int:  # type: ignore[override]
        """Stored entries; for a dense matrix rows times columns."""
        return int(self._offsets[-1])

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Bytes of the values."""
        return self.nnz * self.dtype.itemsize

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        n_rows, n_columns = self.shape
        lengths = np.full(n_rows, n_columns, dtype=np.int64)
        if self.format != "dense":
            for start, stop in row_steps(self.shape):
                lengths[start:stop] = np.diff(sparse.csr_matrix(self._fetch(start, stop)).indptr)
        offsets = np.append(0, np.cumsum(lengths))
        offsets.flags.writeable = False
        return offsets

    def row_offsets(self) -> NDArray[np.int64]:
        """Count the stored entries that precede each row."""
        return self._offsets

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        runs = row_runs(rows, self.shape[0])
        dtype = kernel_dtype(self.dtype)
        blocks = [self._block(start, stop, dtype) for start, stop in zip(*map(np.ndarray.tolist, runs), strict=True)]
        if len(blocks) == 1:
            return blocks[0]
        lengths = [np.diff(block.indptr) for block in blocks]
        return CSRBlock(
            np.append(0, np.cumsum(np.concatenate([*lengths, np.empty(0, np.int64)]))),
            np.concatenate([*(block.indices for block in blocks), np.empty(0, np.int32)]),
            np.concatenate([*(block.data for block in blocks), np.empty(0, dtype)]),
        )

    def _block(self, start: int, stop: int, dtype: np.dtype) -> CSRBlock:
        rows = self._fetch(start, stop)
        if rows.dtype.newbyteorder("=") != self.dtype:
            msg = f"{self.location} gave {rows.dtype} for rows {start} to {stop}, and {self.dtype} before."
            raise TypeError(msg)
        convert = ToValues(dtype, self.location)
        csr = sparse.csr_matrix(rows if sparse.issparse(rows) else convert(rows, start, 0))
        indices = CheckIndices(self.location, self.shape[1])(csr.indices, 0)
        return CSRBlock(csr.indptr.astype(np.int64), indices, convert(csr.data, 0))

    def _fetch(self, start: int, stop: int) -> Rows:
        """Get rows as they are given."""
        self.check_open()
        with self._lock:
            rows = cast("ReadsRows", self._rows)[start:stop]
        is_matrix = sparse.issparse(rows) or isinstance(rows, np.ndarray)
        if not is_matrix or rows.shape != (stop - start, self.shape[1]) or not is_supported_dtype(rows.dtype):
            what = f"{rows.dtype} of shape {rows.shape}" if is_matrix else type(rows).__name__
            msg = (
                f"{self.location} gave {what} for rows {start} to {stop}; a sparse or dense matrix of numbers with "
                f"{self.shape[1]} columns is expected."
            )
            raise TypeError(msg)
        self._counter.add(int(rows.data.nbytes))
        return rows

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched from a file of the user's: nothing is known of that here."""
        return ReadCost(0, certain=False)

    def check_open(self) -> None:
        """Raise ValueError if the source is closed."""
        if self._rows is None:
            msg = f"{self.location} has been closed."
            raise ValueError(msg)

    def close(self) -> None:
        """Let go of what reads."""
        self._rows = None

    def __reduce__(self) -> NoReturn:
        msg = f"{self.location} cannot be sent to another process. Write it to a file first (`adata.write_h5ad`)."
        raise TypeError(msg)
