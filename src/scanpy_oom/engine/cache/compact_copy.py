"""The compact copy of stored values: the pass that first reads them writes it, later passes read it.

Rows are held in pieces (:mod:`scanpy_oom.engine.cache.row_group`). What they hold are the values of the source: the
chain of
transforms is applied again where they are read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

import numpy as np

from ...matrix.cache_registry import drop_copies
from ...memory.buffer_pool import BUFFERS
from ...memory.fork_lock import fork_safe_lock
from ...memory.ledger import ACCOUNTANT
from ...settings import format_bytes, settings
from ...storage.scratch.file import ScratchArray, ScratchSpaceError, lies_in_memory, room_for_copies
from ...storage.sources.base import CSRBlock
from ..reader import Reader
from .row_group import PIECE, Counts, Deltas, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...matrix.cache_registry import Copy, CopyByColumns
    from ...storage.abc import Values
    from ...storage.sources.base import Source
    from ..column_selector import ColumnChoice

__all__ = ["CompactCopy", "CompactCopyWriter", "NoRoomError"]

_NO_MASK = np.empty(0, dtype=bool)
_NO_MAP = np.empty(0, dtype=np.int32)


class NoRoomError(Exception):
    """There is no room for a compact copy, which is given up."""


class _Piece(NamedTuple):
    """Some rows, encoded.

    `first` and `stop` are positions among the rows of the copy. At `offset` there are `nbytes` bytes.
    """

    first: int
    stop: int
    offset: int
    nbytes: int
    form: Counts | Deltas


class _Store:
    """Bytes, in memory while they are few, in a scratch file from then on. Threads may put and get at once."""

    def __init__(self, in_memory: int) -> None:
        self._in_memory = in_memory
        self._room = 0
        self._lock = fork_safe_lock()
        self._file: ScratchArray | None = None
        self._memory: dict[int, bytes] | None = {}
        self._holding = ACCOUNTANT.hold(self, "copies")
        self.takes_memory = True
        self.nbytes = 0
        _stores.add(self)

    @property
    def in_memory(self) -> bool:
        """True if they are in memory."""
        return self._file is None

    def put(self, content: bytes) -> int:
        """Store `content`; return where it is.

        Raises
        ------
        NoRoomError
            If that were more than there is room for.
        """
        with self._lock:
            at = self.nbytes
            self.nbytes += len(content)
            if self._file is None and self.nbytes <= self._in_memory:
                assert self._memory is not None
                self._memory[at] = content
                self._count()
                return at
            file = self._file or self._moved()
            self._count()
            if self.nbytes > self._room:
                msg = f"it takes more than {format_bytes(self._room)}, its share of the space in {settings.scratch_dir}"
                raise NoRoomError(msg)
        self._write(file, content, at)
        return at

    def spill(self) -> None:
        """Move to a scratch file, where there is room and it is not in memory, too."""
        with self._lock:
            if self._file is None and self._memory and not lies_in_memory(settings.scratch_dir):
                with suppress(NoRoomError):
                    self._moved()
                    self._count()

    def _moved(self) -> ScratchArray:
        try:
            self._room = room_for_copies()
            file = ScratchArray(np.dtype(np.uint8))
        except ScratchSpaceError as error:
            raise NoRoomError((error.strerror or str(error)).rstrip(".")) from error
        for at, content in (self._memory or {}).items():
            self._write(file, content, at)
        self._file, self._memory = file, None  # in this order: others may be reading
        self.takes_memory = lies_in_memory(settings.scratch_dir)
        return file

    def _count(self) -> None:
        self._holding.set(self.nbytes if self.takes_memory else 0)

    def _write(self, file: ScratchArray, content: bytes, at: int) -> None:
        try:
            file.write(np.frombuffer(content, dtype=np.uint8), at)
        except OSError as error:  # of a disk that is full, or fails: the pass can do without
            raise NoRoomError((error.strerror or str(error)).rstrip(".")) from error

    def get(self, at: int, length: int) -> bytes | memoryview:
        """Return the bytes that :meth:`put` stored at a place."""
        memory, file = self._memory, self._file
        if memory is not None:
            return memory[at]
        assert file is not None
        out = np.empty(length, dtype=np.uint8)
        file.read(at, out)
        return out.data

    def close(self) -> None:
        """Give the space back."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._memory = None if self._file is not None else {}
            self._holding.set(0)


_stores: WeakSet[_Store] = WeakSet()


def give_back() -> None:
    """Move what is in memory to scratch files; let go of copies that stay there, since they can be made again."""
    for store in list(_stores):
        store.spill()
    drop_copies(_is_in_memory)


def _is_in_memory(copy: Copy | CopyByColumns) -> bool:
    return bool(getattr(copy, "takes_memory", False))


ACCOUNTANT.on_shortage(give_back)


class CompactCopy(Reader):
    """A compact copy of some rows and columns of a source.

    Parameters
    ----------
    source
        The source, which must be open for the copy to be read.
    rows, columns
        Rows and columns of the source that it holds, ascending; None for all.
    lengths
        `(n_rows,)` stored entries of each row that it holds.
    pieces
        Where they are, in the order of the rows.
    store
        The bytes.
    """

    def __init__(
        self,
        source: Source,
        rows: NDArray[np.intp] | None,
        columns: NDArray[np.intp] | None,
        lengths: NDArray[np.int32],
        pieces: list[_Piece],
        store: _Store,
    ) -> None:
        self.columns = columns
        self._source = source
        self._rows = rows
        self._lengths = lengths
        self._pieces = pieces
        self._starts = np.array([piece.first for piece in pieces], dtype=np.intp)
        self._store = store

    @property
    def rows(self) -> NDArray[np.intp] | None:
        """Rows of the source that it holds, ascending; None for all."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, in memory or on disk."""
        return self._store.nbytes

    @property
    def in_memory(self) -> bool:
        """True if it is in memory."""
        return self._store.in_memory

    @property
    def takes_memory(self) -> bool:
        """True if it is in memory, or in a scratch file that is."""
        return self._store.takes_memory and self._store.nbytes > 0

    def _positions(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return rows if self._rows is None else np.searchsorted(self._rows, rows)

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        return self._lengths[self._positions(rows)].astype(np.int64)

    def pieces(self, rows: NDArray[np.intp]) -> NDArray[np.integer]:
        return np.searchsorted(self._starts, self._positions(rows), side="right") - 1

    def read(self, rows: NDArray[np.intp], choice: ColumnChoice | None = None) -> CSRBlock:
        self._source.check_open()
        positions = self._positions(rows)
        column_map = _NO_MAP if choice is None else choice.map
        most = int(self._lengths[positions].sum())
        indptr = np.zeros(rows.size + 1, dtype=np.int64)
        indices, data = BUFFERS.empty(most, np.int32), BUFFERS.empty(most, np.float64)
        row = at = 0
        pieces = self.pieces(rows)
        for k in pieces if rows.size == 1 else np.unique(pieces):
            piece = self._pieces[k]
            lo, hi = np.searchsorted(positions, [piece.first, piece.stop])
            wanted = _NO_MASK
            if hi - lo < piece.stop - piece.first:
                wanted = np.zeros(piece.stop - piece.first, dtype=bool)
                wanted[positions[lo:hi] - piece.first] = True
            lengths = self._lengths[piece.first : piece.stop]
            out = (indptr[row + 1 : row + 1 + hi - lo], indices[at:], data[at:])
            packed = memoryview(self._store.get(piece.offset, piece.nbytes) if piece.nbytes else b"")
            at += piece.form.decode(packed, lengths, wanted, column_map, *out)
            row += hi - lo
        np.cumsum(indptr, out=indptr)
        return CSRBlock(indptr, indices[:at], data[:at])

    def close(self) -> None:
        """Give the space back."""
        self._store.close()


class CompactCopyWriter:
    """Writes a compact copy in the course of a pass. Threads may add blocks at once, in any order.

    Parameters
    ----------
    source
        What is copied.
    rows, columns
        Rows and columns of it that are copied, ascending; None for all.
    n_rows
        How many rows.
    in_memory
        Bytes up to which the copy stays in memory.
    piece
        Entries that are encoded together, and decoded.
    n_columns
        How many columns, if rows of the copy are something else than rows of the source.
    """

    def __init__(
        self,
        source: Source,
        rows: NDArray[np.intp] | None,
        columns: NDArray[np.intp] | None,
        n_rows: int,
        in_memory: int,
        piece: int = PIECE,
        n_columns: int | None = None,
    ) -> None:
        self._arguments = (source, rows, columns)
        self.columns = columns
        self._piece = piece
        self._n_columns = n_columns or (source.shape[1] if columns is None else columns.size)
        self._lengths = np.zeros(n_rows, dtype=np.int32)
        self._pieces: list[_Piece] = []
        self._store = _Store(in_memory)

    def add(self, first: int, indptr: NDArray[np.int64], indices: NDArray[np.int32], data: Values) -> None:
        """Add rows from position `first` on, whose columns are numbered as those of the copy, and increase.

        Raises
        ------
        NoRoomError
            If there is no room for them.
        """
        n_rows = indptr.size - 1
        self._lengths[first : first + n_rows] = np.diff(indptr)
        start = 0
        while start < n_rows:
            end = int(np.searchsorted(indptr, indptr[start] + self._piece, side="right")) - 1
            stop = min(max(end, start + 1), n_rows)
            content, form = encode(indptr[start : stop + 1], indices, data, self._n_columns)
            offset = self._store.put(content) if content else 0
            self._pieces.append(_Piece(first + start, first + stop, offset, len(content), form))
            start = stop

    def finish(self) -> CompactCopy:
        """Return what was written, once all rows have been added."""
        self._pieces.sort(key=lambda piece: piece.first)
        return CompactCopy(*self._arguments, self._lengths, self._pieces, self._store)

    def discard(self) -> None:
        """Give the space back."""
        self._store.close()
