"""Assignments to places of a matrix: few become a patch over its source, many a copy with the change in scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...matrix import OOMMatrix
from ...matrix.inplace.places import Entries, in_order_of_places
from ...memory.ledger import ACCOUNTANT
from ...storage.arrays.ranges import row_runs
from ...storage.sources.base import CSRBlock
from ..block import DENSE_CELLS, stored_rows
from ..cache.policy import IN_MEMORY
from ..compute import compute
from .joined import JoinedSource, Part, in_order
from .scratch import ScratchRows

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from ...matrix.inplace.places import Places
    from ...storage.abc import Values
    from ..block import Block

__all__ = ["PatchedSource", "assigned", "merged"]

_DEEPEST = 4
"""Patches over one another, with steps in between, before a copy is made."""

_PER_PLACE = 40
"""Bytes that a place takes while a patch is made."""


class PatchedSource(JoinedSource):
    """A matrix with other values at some places.

    Parameters
    ----------
    part
        The matrix: its rows in the order of its own source, each once.
    entries
        What stands at which places.
    like
        The same, for its dtype and form.
    """

    def __init__(self, part: Part, entries: Entries, like: OOMMatrix) -> None:
        kind: type = np.ndarray if like.is_dense else sparse.csr_matrix
        super().__init__([part], like.shape[1], like.dtype, kind)
        self.format = like.format_in_memory
        self.holds_arrays = like.source.holds_arrays
        self.byteorder = like.dtype_in_memory.byteorder
        self.entries = entries
        ACCOUNTANT.hold(self, "copies", sum(array.nbytes for array in entries))

    @property
    def depth(self) -> int:
        """Number of patches, one over the other."""
        below = self.parts[0].matrix.source
        return 1 + (below.depth if isinstance(below, PatchedSource) else 0)

    @property
    def nnz(self) -> int:  # type: ignore[override]
        """Stored entries, at most; for a dense matrix rows times columns."""
        return super().nnz + (0 if self.format == "dense" else self.entries.rows.size)

    @property
    def nnz_is_exact(self) -> bool:
        """True if that is just what is read."""
        return self.format == "dense"

    def _counted(self) -> NDArray[Any]:
        offsets = super()._counted()
        if self.format != "dense":
            more = np.bincount(self.entries.rows, minlength=self.shape[0])
            offsets = offsets + np.append(0, np.cumsum(more)).astype(offsets.dtype)
            offsets.flags.writeable = False
        return offsets

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows, with what stands at places of theirs."""
        block = super().read_rows(rows)
        numbers = row_runs(rows, self.shape[0]).numbers()
        if isinstance(numbers, slice):
            numbers = np.arange(numbers.start, numbers.stop)
        entries = self.entries
        if not numbers.size:
            return block
        near = slice(*np.searchsorted(entries.rows, [numbers[0], numbers[-1] + 1]).tolist())
        at = np.searchsorted(numbers, entries.rows[near])
        mine = numbers[at] == entries.rows[near]
        own = Entries(at[mine], *_at(entries, near.start + np.flatnonzero(mine)))
        return merged(block, own, self.shape[1]) if own.rows.size else block


def merged(block: CSRBlock, entries: Entries, n_columns: int) -> CSRBlock:
    """Return a block whose columns increase, with other values at some places.

    Parameters
    ----------
    block
        What is stored.
    entries
        Places by their positions in the block.
    n_columns
        Columns of the matrix.
    """
    n_rows = block.indptr.size - 1
    keys = np.repeat(np.arange(n_rows), np.diff(block.indptr)) * n_columns + block.indices
    wanted = entries.rows * n_columns + entries.columns
    at = np.searchsorted(keys, wanted)
    hit = np.zeros(at.size, dtype=bool)
    inside = at < keys.size
    hit[inside] = keys[at[inside]] == wanted[inside]
    data = block.data.astype(np.float64)
    data[at[hit]] = entries.values[hit]
    new = ~hit & ~entries.only_stored
    more = np.bincount(entries.rows[new], minlength=n_rows)
    return CSRBlock(
        block.indptr + np.append(0, np.cumsum(more)),
        np.insert(block.indices, at[new], entries.columns[new]),
        np.insert(data, at[new], entries.values[new]),
    )


class _Assign(ScratchRows):
    """Writes a matrix with other values at some places to scratch space."""

    _what = "changed values"

    def __init__(self, places: Places) -> None:
        self._places = places.by_row()

    def prepare(self, matrix: OOMMatrix) -> None:
        super().prepare(matrix)
        columns = matrix.selection.columns
        self._sorts = columns is not None and bool((np.diff(columns) < 0).any())
        self._drops_zeros = matrix.chain.drops_zeros

    def update(self, partial: None, block: Block) -> None:
        places, positions = self._places, self._positions[block.positions]
        stored = stored_rows(block, sorts=self._sorts, drops_zeros=self._drops_zeros)
        per_row = places.columns.size if places.is_outer else places.size // self.n_rows
        step = max(1, DENSE_CELLS // max(per_row, 1))  # so that the places of these rows take little memory
        for first in range(0, block.n_rows, step):
            some = slice(first, min(first + step, block.n_rows))
            begin, end = stored.indptr[some.start], stored.indptr[some.stop]
            part = CSRBlock(
                stored.indptr[some.start : some.stop + 1] - begin, stored.indices[begin:end], stored.data[begin:end]
            )
            self.write(positions[some], self._changed(part, positions[some]))

    def _changed(self, rows: CSRBlock, positions: NDArray[np.intp]) -> CSRBlock:
        if self._rank is None:  # they ascend
            own = self._places.entries(positions)
        else:
            order = np.argsort(positions)
            own = _moved(self._places.entries(positions[order]), order)
        return merged(rows, own, self.n_columns) if own.rows.size else rows


def _moved(entries: Entries, to: NDArray[np.intp]) -> Entries:
    """Return what stands in rows that have other numbers."""
    return in_order_of_places(entries._replace(rows=to[entries.rows]))


def _at(entries: Entries, index: NDArray[np.intp]) -> tuple[NDArray[np.int64], Values, NDArray[np.bool_]]:
    """Return columns and what follows of some of the entries."""
    return entries.columns[index], entries.values[index], entries.only_stored[index]


def assigned(matrix: OOMMatrix, places: Places) -> OOMMatrix:
    """Return a matrix with other values at some places. What it is made from is not changed.

    Few places become a patch, in memory; of many, or where rows come twice, a changed copy is written to scratch.

    Raises
    ------
    ScratchSpaceError
        If there is no room for the copy.
    """
    if not places.size:
        return matrix
    if matrix.transposed_of is not None:
        return assigned(matrix.transposed_of, places.transposed()).T
    ordered, order = in_order(matrix)
    once = ordered.shape[0] == matrix.shape[0]
    if once and places.size * _PER_PLACE <= IN_MEMORY:
        entries = places.entries()
        patched = _patched(ordered, entries if order is None else _moved(entries, order))
        if patched is not None:
            return patched if order is None else patched.select(order)
    return compute(matrix, _Assign(places))


def _patched(matrix: OOMMatrix, entries: Entries) -> OOMMatrix | None:
    """Return a matrix with a patch over it, whose rows are in the order of its source; None if there is too much."""
    source, shown = matrix.source, matrix.selection
    as_it_is = not matrix.chain.transforms and shown.columns is None and matrix.shape[0] == source.shape[0]
    if isinstance(source, PatchedSource) and as_it_is:
        old = source.entries
        entries = in_order_of_places(Entries(*(np.concatenate(pair) for pair in zip(old, entries, strict=True))))
        if entries.rows.size * _PER_PLACE > IN_MEMORY:
            return None
        return OOMMatrix.from_source(PatchedSource(source.parts[0], entries, matrix))
    if isinstance(source, PatchedSource) and source.depth >= _DEEPEST:
        return None
    nothing = np.zeros(0, dtype=np.int32)
    part = Part(matrix.select(), np.arange(matrix.shape[1], dtype=np.int32), nothing, np.zeros(0))
    return OOMMatrix.from_source(PatchedSource(part, entries, matrix))
