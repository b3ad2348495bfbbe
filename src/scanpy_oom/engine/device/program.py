"""A chain of transforms on a device: the same instructions, run in the arrays of the device.

What a chain makes of small counts is looked up in the tables that the host fills: so these are equal to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...matrix.transforms.program import N_TABLE
from .block import ArrayBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from ...matrix import OOMMatrix
    from ...matrix.transforms.program import BlockProgram, Place
    from ...storage.abc import Values
    from ...storage.sources.base import CSRBlock
    from ..partition import Rows
    from .device import Array, Device

__all__ = ["ArrayReader", "Operands", "uncovered_steps"]


_InChain: TypeAlias = "tuple[int, Place | None]"
"""Of which program of a chain parameters are, and their place in it; None for the classes of rows."""


def uncovered_steps(matrix: OOMMatrix, xp: ModuleType) -> str:
    """Return what is in a chain that a package of arrays lacks, in words; nothing if it has all."""
    steps = (step for program in matrix.chain.programs for step in program.instructions)
    return next((f"{name} in the chain" for step in steps if (name := step.lacking(xp))), "")


@dataclass
class Operands:
    """Table, and parameters by row, that a chain needs for the rows of one block, on the host."""

    table: NDArray[np.float64] | None
    arrays: Mapping[_InChain, Values]

    def __iter__(self) -> Iterator[Values]:
        """Yield all arrays."""
        yield from () if self.table is None else (self.table,)
        yield from self.arrays.values()

    def of_arrays(self, arrays: Iterator[Array]) -> Operands:
        """Return the same with other arrays, which come in the order in which these do."""
        table = None if self.table is None else next(arrays)
        return Operands(table, {place: next(arrays) for place in self.arrays})

    def of_rows(self, rows: slice) -> Operands:
        """Return the same for some of the rows."""
        table = self.table if self.table is None or len(self.table) == 1 else self.table[rows]
        return Operands(table, {place: array[rows] for place, array in self.arrays.items()})


class ArrayReader:
    """Makes blocks of a matrix on a device.

    Parameters
    ----------
    matrix
        What is to be shown.
    device
        Where.
    """

    def __init__(self, matrix: OOMMatrix, device: Device) -> None:
        self._device = device
        self._n_columns = matrix.shape[1]
        self._host = matrix.chain.programs
        self._programs = [program.on(device.xp) for program in self._host]
        self._fill_values = matrix.chain.fill_values_before_filling
        self._fill_values_by_class: Array | None = None
        if self._fill_values is not None:
            self._fill_values_by_class = device.xp.asarray(self._fill_values.values)

    def operands(self, rows: Rows) -> Operands:
        """Find what the chain needs for some rows, once their totals are known. Serves several threads at once."""
        programs = [program.for_rows(rows.positions, rows.source_rows) for program in self._host]
        arrays: dict[_InChain, Values] = {
            (n, place): array for n, program in enumerate(programs) for place, array in program.parameters().items()
        }
        if self._fill_values is not None and self._fill_values.row_class.size:
            arrays[0, None] = self._fill_values.classes(rows.positions)
        pinned = {place: self._device.pinned(np.ascontiguousarray(array)) for place, array in arrays.items()}
        return Operands(self._device.pinned(programs[0].table()) if programs[0].head else None, pinned)

    def block(self, stored: CSRBlock, operands: Operands, rows: Rows) -> ArrayBlock:
        """Transform what is stored, all arrays being on the device."""
        program, *filling = (self._of_block(n, operands, rows) for n in range(len(self._programs)))
        block = ArrayBlock(
            self._device,
            rows.positions,
            stored.indptr,
            stored.indices,
            stored.data,
            self._n_columns,
            self._fill_values_by_class,
            operands.arrays.get((0, None)),
        )
        block.values = self._transformed(program, block, operands.table)
        for dense in filling:
            block = replace(block, fill_values=None, row_class=None).of_dense(dense.run_dense(block.toarray()))
        return block

    def _of_block(self, n: int, operands: Operands, rows: Rows) -> BlockProgram:
        """Return one of the programs with the parameters of a block."""
        found = {place: array for (k, place), array in operands.arrays.items() if k == n and place is not None}
        return self._programs[n].with_parameters(found, rows.source_rows.size, self._device.xp)

    def _transformed(self, program: BlockProgram, block: ArrayBlock, table: Array | None) -> Array:
        xp, stored = self._device.xp, block.values
        values = stored.astype(np.float64, copy=False)
        if not len(program):
            return values
        if table is not None:
            rows = block.rows
            computed = program.run_head(values, rows)
            small = xp.where((values >= 0) & (values < N_TABLE), values, 0).astype(np.int64)
            looked_up = table[rows if table.shape[0] > 1 else xp.zeros_like(rows), small]
            values = xp.where(small == values, looked_up, computed) if table.shape[0] else computed
        return program.run_tail(values, block.rows, block.indices) if program.tail else values
