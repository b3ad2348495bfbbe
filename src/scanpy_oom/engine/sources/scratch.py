"""Values that cannot be computed again, as a source: they are kept in compact form, in scratch space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from scipy import sparse

from ...matrix import OOMMatrix
from ...storage.scratch.file import ScratchSpaceError
from ...storage.sources.base import CSRBlock, ReadCost, Source
from ...storage.sources.memory import MemorySource
from ..budget import require
from ..cache.compact_copy import CompactCopyWriter, NoRoomError
from ..cache.policy import IN_MEMORY
from ..reduction import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ...storage.abc import Values
    from ..cache.compact_copy import CompactCopy

    Format = Literal["csr", "csc", "dense"]

__all__ = ["ScratchRows", "ScratchSource", "ScratchSourceWriter", "kept"]


class ScratchSource(Source):
    """Values that were computed once, in scratch space.

    Parameters
    ----------
    like
        A matrix of the same shape, dtype and form.
    what
        What was done to it.
    kind
        How scanpy, in memory, would hold the result, if not as it holds the matrix.
    """

    path = None
    compression = "none"
    backend = "scratch"

    def __init__(self, like: OOMMatrix, what: str, kind: Format | None = None) -> None:
        self.shape = like.shape
        self.dtype = like.dtype
        self.holds_arrays = like.source.holds_arrays
        self.format = like.format_in_memory if kind is None else kind
        self.location = f"{what} of {like.source.location}"
        self._copy: CompactCopy | None = None
        self._offsets = np.zeros(1, dtype=np.int64)

    def hold(self, copy: CompactCopy) -> None:
        """Take over what was written."""
        n_rows, n_columns = self.shape
        self._copy = copy
        lengths = copy.sizes(np.arange(n_rows))
        dense = self.format == "dense"
        self._offsets = np.append(0, np.cumsum(np.full(n_rows, n_columns) if dense else lengths))
        self._offsets.flags.writeable = False
        self.nnz = int(self._offsets[-1])
        self.nbytes = copy.nbytes

    @property
    def bytes_read(self) -> int:
        """Bytes fetched from a file of the user's: none."""
        return 0

    def row_offsets(self) -> NDArray[np.int64]:
        """Count the stored entries that precede each row."""
        return self._offsets

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        wanted = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else np.asarray(rows)
        self.check_open()
        assert self._copy is not None
        return self._copy.read(wanted)

    def estimate_read(self, rows: NDArray[np.intp] | None = None, n_blocks: int = 1, n_threads: int = 1) -> ReadCost:
        """Estimate what is fetched from a file of the user's: nothing."""
        return ReadCost(0, certain=True)

    def check_open(self) -> None:
        """Raise ValueError if the source is closed."""
        if self._copy is None:
            msg = f"{self.location} was closed."
            raise ValueError(msg)

    def close(self) -> None:
        """Give the space back."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def __reduce__(self) -> tuple[Callable[..., ScratchSource], tuple[object, ...]]:
        self.check_open()
        what = f"Pickling {self.location}, which lies in a scratch file of this process,"
        require(self.nnz * (self.dtype.itemsize + 4), what, "Write it to a file first (`adata.write_h5ad`).")
        described = self.__dict__ | {"_copy": None}
        rows = self.read_rows(slice(0, self.shape[0]))
        return _again_in_scratch, (described, rows.indptr, rows.indices, rows.data.astype(self.dtype))


def _again_in_scratch(
    described: dict[str, object], indptr: NDArray[np.int64], indices: NDArray[np.int32], data: Values
) -> ScratchSource:
    """Write values to scratch space of this process that were in that of another."""
    source = ScratchSource.__new__(ScratchSource)
    source.__dict__.update(described)
    writer = CompactCopyWriter(source, None, None, source.shape[0], IN_MEMORY)
    writer.add(0, indptr, indices, data)
    source.hold(writer.finish())
    return source


class ScratchSourceWriter:
    """Writes a :class:`ScratchSource` in the course of a pass. Threads may add blocks at once, in any order."""

    def __init__(self, like: OOMMatrix, what: str, kind: Format | None = None) -> None:
        self._source = ScratchSource(like, what, kind)
        self._writer = CompactCopyWriter(self._source, None, None, like.shape[0], IN_MEMORY)

    def add(self, first: int, indptr: NDArray[np.int64], indices: NDArray[np.int32], data: Values) -> None:
        """Add rows from position `first` on, whose columns increase.

        Raises
        ------
        ScratchSpaceError
            If there is no room for them.
        """
        try:
            self._writer.add(first, indptr, indices, data)
        except NoRoomError as error:
            self._writer.discard()
            advice = "Set settings.scratch_dir to a folder on another disk."
            msg = f"{self._source.location} cannot be kept: {error}. {advice}"
            raise ScratchSpaceError(msg) from error

    def finish(self) -> ScratchSource:
        """Return what was written, once all rows have been added."""
        self._source.hold(self._writer.finish())
        return self._source


class ScratchRows(Reduction):
    """Writes rows that were changed to scratch space; the result is a matrix."""

    is_final = True
    only_here = "scratch space of this machine"

    _what: ClassVar[str]
    """What was done, for messages."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self.dtype, (self.n_rows, self.n_columns) = matrix.dtype, matrix.shape
        rows = matrix.selection.rows
        # rows come in the order of the source, and are written in this order
        self._rank: NDArray[np.intp] | None = None
        if rows is not None and (np.diff(rows) < 0).any():
            self._rank = np.argsort(np.argsort(rows, kind="stable"), kind="stable")
        self._positions = np.arange(self.n_rows)
        self._writer = ScratchSourceWriter(matrix, self._what)

    def partial(self) -> None:
        return None

    def write(self, positions: NDArray[np.intp], rows: CSRBlock) -> None:
        """Write what rows at these positions of the matrix have become; columns increase."""
        at = int(positions[0] if self._rank is None else self._rank[positions[0]])
        indices = rows.indices.astype(np.int32, copy=False)
        self._writer.add(at, rows.indptr.astype(np.int64), indices, rows.data.astype(self.dtype))

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> OOMMatrix:
        return OOMMatrix.from_source(self._writer.finish()).select(self._rank)


def kept(values: Any, like: OOMMatrix) -> OOMMatrix:
    """Keep a matrix or array in compact form: few values in memory, more in scratch space.

    Parameters
    ----------
    values
        Of SciPy or NumPy; not to be changed from here on.
    like
        The matrix in the place of which it will be, of the same shape.

    Raises
    ------
    ScratchSpaceError
        If there is no room for them.
    """
    kind: Format = "dense"
    if sparse.issparse(values):
        values.sum_duplicates()
        kind = values.format
    shown = MemorySource(values)
    if shown.nbytes <= IN_MEMORY:
        return OOMMatrix.from_source(shown)
    matrix = OOMMatrix.from_source(shown)
    writer = ScratchSourceWriter(matrix, "changed values", kind)
    for rows in _steps(values.shape):
        block = shown.read_rows(rows)
        writer.add(rows.start, block.indptr, block.indices, block.data)
    source = writer.finish()
    source.location = f"changed values of {like.source.location}"
    return OOMMatrix.from_source(source)


def _steps(shape: tuple[int, int]) -> Iterator[slice]:
    """Yield rows that take little memory, one run after the other."""
    step = max(1, IN_MEMORY // max(shape[1] * 12, 1))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))
