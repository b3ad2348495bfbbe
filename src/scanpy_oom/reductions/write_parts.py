"""Writing a matrix in parts, of which each process makes some, in any order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.block import stored_rows
from ..engine.reduction import Reduction
from ..errors import OOMError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..matrix import OOMMatrix
    from ..storage.appender import Encoder

__all__ = ["StoredLengths", "WriteParts", "part_size", "sorts_columns"]

PART = 2**24
"""Bytes of a part, about. Larger chunks, or shards, are not made whole in another process."""


def sorts_columns(matrix: OOMMatrix) -> bool:
    """Return whether columns are to be put in order."""
    columns = matrix.selection.columns
    return columns is not None and bool((np.diff(columns) < 0).any())


class StoredLengths(Reduction):
    """How many entries each row stores when it is written, `(n_rows,)` of int64."""

    def prepare(self, matrix: OOMMatrix) -> None:
        self._how = {"sorts": False, "drops_zeros": matrix.chain.drops_zeros}
        self._lengths = np.zeros(matrix.shape[0], dtype=np.int64)

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        self._lengths[block.positions] = np.diff(stored_rows(block, **self._how).indptr)

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> NDArray[np.int64]:
        return self._lengths

    def by_row(self) -> Sequence[np.ndarray]:
        return (self._lengths,)


def part_size(steps: Sequence[int], lengths: NDArray[np.int64], nbytes: int) -> int:
    """Return how many entries a part has, or rows of a dense matrix, by the bytes of one."""
    step = math.lcm(*steps)
    longest = int(lengths.max(initial=1))  # so that no two parts begin in one row
    return -(-max(PART // nbytes, longest) // step) * step


class _Part:
    """Entries, or rows of a dense matrix, of one part.

    Parameters
    ----------
    start, stop
        The first of them, and the one after the last.
    """

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.pieces: list[Sequence[np.ndarray]] = []

    def add(self, first: int, arrays: Sequence[np.ndarray]) -> None:
        """Add what of arrays, which begin at `first`, belongs to the part."""
        some = slice(max(self.start - first, 0), max(self.stop - first, 0))
        self.pieces.append([array[some] for array in arrays])


class WriteParts(Reduction):
    """Writes the values of a matrix in parts: each is encoded where it is computed, and put where the file is open.

    Parts begin where chunks of the file do, so that no two write the same chunk. A row that two parts share is read
    for both.

    Parameters
    ----------
    writer
        Has the file open. It stays in this process.
    encoders
        What makes each of its arrays.
    offsets
        `(n_rows + 1,)`: where each row begins among all entries; of a dense matrix, among all rows.
    size
        Entries, or rows, of a part (:func:`part_size`).
    width
        Columns of a dense matrix; 0 of a sparse one.
    """

    is_final = True

    def __init__(
        self, writer: Any, encoders: Sequence[Encoder[Any]], offsets: NDArray[np.int64], size: int, *, width: int
    ) -> None:
        self._writer = writer
        self._encoders = encoders
        self._offsets = offsets
        self._size = size
        self._width = width
        self._starts = np.append(np.arange(0, offsets[-1], size), offsets[-1])
        first = np.searchsorted(offsets, self._starts[:-1], side="right") - 1
        stop = np.searchsorted(offsets, self._starts[1:], side="left")
        # rows without entries are read, too: with what comes after them, or in the end
        first[0], stop[-1] = 0, offsets.size - 1
        first[1:] = np.minimum(first[1:], stop[:-1])
        self._first_rows = first
        self.tasks = list(zip(first.tolist(), stop.tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_writer": None}

    def prepare(self, matrix: OOMMatrix) -> None:
        self._how = {"sorts": sorts_columns(matrix), "drops_zeros": matrix.chain.drops_zeros}
        self._dtype = matrix.dtype_in_memory

    def partial(self) -> list[_Part]:
        return []

    def update(self, partial: list[_Part], block: Block) -> None:
        positions = block.positions
        row = positions.start if isinstance(positions, slice) else int(positions[0])
        first = int(self._offsets[row])
        if not partial:
            k = int(np.searchsorted(self._first_rows, row))
            partial.append(_Part(int(self._starts[k]), int(self._starts[k + 1])))
        if self._width:
            for start, rows in block.dense_rows():
                partial[0].add(first + start, [rows.astype(self._dtype)])
            return
        stored = stored_rows(block, **self._how)
        if not np.array_equal(stored.indptr[1:] + first, self._offsets[row + 1 : row + stored.indptr.size]):
            msg = f"Rows {row} to {row + block.n_rows - 1} store other entries than when these were counted."
            raise OOMError(msg)
        partial[0].add(first, [stored.data.astype(self._dtype, copy=False), stored.indices])

    def finish(self, partial: list[_Part]) -> list[tuple[int, list[Any]]]:
        """Encode the part."""
        return [
            (part.start, [
                encoder.encode(part.start, np.concatenate(arrays))
                for encoder, arrays in zip(self._encoders, zip(*part.pieces, strict=True), strict=True)
            ])
            for part in partial
        ]  # fmt: skip

    def merge(self, total: list[tuple[int, list[Any]]], partial: list[tuple[int, list[Any]]]) -> Any:
        self._put(total)
        self._put(partial)
        return []

    def result(self, total: list[tuple[int, list[Any]]]) -> None:
        self._put(total)
        self._writer.close()

    def _put(self, parts: list[tuple[int, list[Any]]]) -> None:
        for start, encoded in parts:
            self._writer.put(start, encoded)

    def workspace_nbytes(self) -> int:
        """Bytes of a part as it is collected, put together and encoded; none waits for another."""
        return 3 * self._size * (self._width * self._dtype.itemsize or 4 + self._dtype.itemsize)
