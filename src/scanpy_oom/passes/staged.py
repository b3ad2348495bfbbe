"""Values that cannot be computed again, as a source: they are kept in compact form, in scratch space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..io.scratch import ScratchSpaceError
from ..io.source import CSRBlock, Source
from .stage import NoRoomError, StageWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .stage import Stage

    Format = Literal["csr", "csc", "dense"]

__all__ = ["StagedSource", "StagedSourceWriter"]

IN_MEMORY = 2**25
"""Bytes up to which values stay in memory."""


class StagedSource(Source):
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

    def __init__(self, like: OOMMatrix, what: str, kind: Format | None = None) -> None:
        self.shape = like.shape
        self.dtype = like.dtype
        self.holds_arrays = like.source.holds_arrays
        self.format = like.format_in_memory if kind is None else kind
        self.location = f"{what} of {like.source.location}"
        self._stage: Stage | None = None
        self._offsets = np.zeros(1, dtype=np.int64)

    def hold(self, stage: Stage) -> None:
        """Take over what was written."""
        n_rows, n_columns = self.shape
        self._stage = stage
        lengths = stage.sizes(np.arange(n_rows))
        dense = self.format == "dense"
        self._offsets = np.append(0, np.cumsum(np.full(n_rows, n_columns) if dense else lengths))
        self._offsets.flags.writeable = False
        self.nnz = int(self._offsets[-1])
        self.nbytes = stage.nbytes

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
        assert self._stage is not None
        return self._stage.read(wanted)

    def check_open(self) -> None:
        """Raise ValueError if the source is closed."""
        if self._stage is None:
            msg = f"{self.location} was closed."
            raise ValueError(msg)

    def close(self) -> None:
        """Give the space back."""
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def __reduce__(self) -> Any:
        msg = f"{self.location} lies in a scratch file of this process. Write it to a file first (`adata.write_h5ad`)."
        raise TypeError(msg)


class StagedSourceWriter:
    """Writes a :class:`StagedSource` in the course of a pass. Threads may add blocks at once, in any order."""

    def __init__(self, like: OOMMatrix, what: str, kind: Format | None = None) -> None:
        self._source = StagedSource(like, what, kind)
        self._writer = StageWriter(self._source, None, None, like.shape[0], IN_MEMORY)

    def add(self, first: int, indptr: NDArray[np.int64], indices: NDArray[np.int32], data: NDArray[Any]) -> None:
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

    def finish(self) -> StagedSource:
        """Return what was written, once all rows have been added."""
        self._source.hold(self._writer.finish())
        return self._source
