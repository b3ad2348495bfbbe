"""A chain of transforms on a device: NumPy's functions, called with the arrays of the device, which take it from there.

What a chain makes of small counts is looked up in the tables that the host fills: so these are equal to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...matrix.lowrank import LowRank
from ...matrix.pearson import PearsonResiduals
from ...matrix.program import N_TABLE, BlockProgram, Program
from ...matrix.transforms import Cast
from .block import ArrayBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ...io.source import CSRBlock
    from ...matrix import OOMMatrix
    from ...matrix.program import Instruction
    from ..plan import Rows
    from .device import Array, Device

__all__ = ["ArrayReader", "Operands", "uncovered_steps"]


def uncovered_steps(matrix: OOMMatrix, xp: Any) -> str:
    """Return what is in a chain that has no form in arrays, in words; nothing if all of it has one."""
    filling = matrix.chain.filling
    for step in [*matrix.chain.program.instructions, *([] if filling is None else filling.instructions)]:
        function, owner = step.ufunc, getattr(step.ufunc, "__self__", None)
        if isinstance(function, np.ufunc):
            known = hasattr(xp, function.__name__)
        else:  # casts are methods of arrays
            known = isinstance(owner, PearsonResiduals) or function.__qualname__.startswith(f"{Cast.__name__}.")
        if not known:
            return f"{function.__name__} in the chain"
        operand = getattr(step.matrix, "__self__", None)
        if step.matrix is not None and not isinstance(operand, LowRank | PearsonResiduals):
            return "an operand by row and column in the chain"
    return ""


@dataclass
class Operands:
    """What a chain needs for the rows of one block, on the host: tables, and operands and masks by instruction."""

    table: NDArray[np.float64] | None
    arrays: list[tuple[int, NDArray[Any]]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield all arrays."""
        yield from () if self.table is None else (self.table,)
        yield from (array for _, array in self.arrays)

    def of_arrays(self, arrays: Iterator[Array]) -> Operands:
        """Return the same with other arrays, which come in the order in which these do."""
        table = None if self.table is None else next(arrays)
        return Operands(table, [(number, next(arrays)) for number, _ in self.arrays])

    def of_rows(self, rows: slice) -> Operands:
        """Return the same for some of the rows."""
        table = self.table if self.table is None or len(self.table) == 1 else self.table[rows]
        return Operands(table, [(number, array[rows]) for number, array in self.arrays])


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
        self._host = matrix.chain.program
        self._program = _on_device(self._host, device.xp)
        filling = matrix.chain.filling
        self._filling_host = filling
        self._filling = None if filling is None else _on_device(filling, device.xp)
        self._background = matrix.chain.background_before_filling
        self._background_values: Array | None = None
        if self._background is not None:
            self._background_values = device.xp.asarray(self._background.values)

    def operands(self, rows: Rows) -> Operands:
        """Find what the chain needs for some rows, once their totals are known. Serves several threads at once."""
        program = self._host.for_rows(rows.positions, rows.source_rows)
        arrays = _operands(program, 0)
        if self._filling_host is not None:
            filling = self._filling_host.for_rows(rows.positions, rows.source_rows)
            arrays += _operands(filling, len(self._host))
        if self._background is not None and self._background.row_class.size:
            arrays.append((-1, self._background.classes(rows.positions)))
        pinned = [(k, self._device.pinned(np.ascontiguousarray(array))) for k, array in arrays]
        return Operands(self._device.pinned(program.table()) if self._host.head else None, pinned)

    def block(self, stored: CSRBlock, operands: Operands, rows: Rows) -> ArrayBlock:
        """Transform what is stored, all arrays being on the device."""
        found = dict(operands.arrays)
        block = ArrayBlock(
            self._device,
            rows.positions,
            stored.indptr,
            stored.indices,
            stored.data,
            self._n_columns,
            self._background_values,
            found.get(-1),
        )
        n = len(self._host)
        program = _for_block(self._program, found, 0, rows)
        block.values = self._transformed(program, block, operands.table)
        if self._filling is None:
            return block
        xp, values = self._device.xp, block.toarray()
        at = xp.arange(values.shape[0])[:, None], xp.arange(values.shape[1])[None, :]
        filling = _for_block(self._filling, found, n, rows)
        return replace(block, background=None, row_class=None).of_dense(
            filling.run(values, self._filling.instructions, *at)
        )

    def _transformed(self, program: BlockProgram, block: ArrayBlock, table: Array | None) -> Array:
        xp, stored = self._device.xp, block.values
        values = stored.astype(np.float64, copy=False)
        if not len(self._program):
            return values
        if table is not None:
            rows = block.rows
            computed = program.run(values, self._program.head, rows)
            small = xp.where((values >= 0) & (values < N_TABLE), values, 0).astype(np.int64)
            looked_up = table[rows if table.shape[0] > 1 else xp.zeros_like(rows), small]
            values = xp.where(small == values, looked_up, computed) if table.shape[0] else computed
        if self._program.tail:
            values = program.run(values, self._program.tail, block.rows, block.indices)
        return values


def _operands(program: BlockProgram, first: int) -> list[tuple[int, NDArray[Any]]]:
    """Return operands and masks by row, by the number of the instruction."""
    numbered = list(enumerate(program.program.instructions, start=first))
    found: list[tuple[int, NDArray[Any]]] = [(2 * k, program.rows[id(i)]) for k, i in numbered if id(i) in program.rows]
    return found + [(2 * k + 1, program.masks[id(i)]) for k, i in numbered if id(i) in program.masks]


def _for_block(program: Program, found: dict[int, Array], first: int, rows: Rows) -> BlockProgram:
    def numbered(part: int) -> dict[int, Array]:
        numbers = {id(i): 2 * k + part for k, i in enumerate(program.instructions, start=first)}
        return {key: found[number] for key, number in numbers.items() if number in found}

    return BlockProgram(program, numbered(0), numbered(1), rows.source_rows.size, rows.positions)


def _on_device(program: Program, xp: Any) -> Program:
    """Return a program whose operands by column are on the device."""
    return Program([_instruction(step, xp) for step in program.instructions], single=program.single)


def _instruction(step: Instruction, xp: Any) -> Instruction:
    column = None if step.column is None else xp.asarray(step.column)
    matrix = None if step.matrix is None else _matrix(step.matrix.__self__, xp)  # type: ignore[attr-defined]
    owner = getattr(step.ufunc, "__self__", None)
    ufunc = _residuals(owner, xp) if isinstance(owner, PearsonResiduals) else step.ufunc
    return replace(step, column=column, matrix=matrix, ufunc=ufunc)


def _matrix(owner: LowRank | PearsonResiduals, xp: Any) -> Callable[[slice | NDArray[np.intp]], Array]:
    """Return what gives an operand by row and column."""
    if isinstance(owner, PearsonResiduals):
        return lambda positions: xp.asarray(owner.cell_totals[positions])
    columns = xp.asarray(owner.columns)

    def at(positions: slice | NDArray[np.intp]) -> Array:
        rows = xp.asarray(np.ascontiguousarray(owner.rows[positions]))
        return columns[rows] if rows.ndim == 1 else rows @ columns

    return at


def _residuals(step: PearsonResiduals, xp: Any) -> Callable[[Array, Array], Array]:
    """Return a function of values and totals that gives residuals, each step in the precision of the result."""
    dtype = np.dtype(np.float32 if step.single else np.float64)
    genes = xp.asarray(step.gene_sums.astype(dtype))
    grand_total, theta = dtype.type(step.grand_total), dtype.type(step.theta)

    def residuals(values: Array, cell_totals: Array) -> Array:
        mu = cell_totals.astype(dtype)[:, None] * genes / grand_total
        return (values.astype(dtype) - mu) / xp.sqrt(mu + mu * mu / theta)

    return residuals
