"""Instructions: the elementwise operations of a transform, as data that runs on arrays of any package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...storage.abc import Values

    P = TypeVar("P", bound=np.generic)
    from types import ModuleType

__all__ = ["Call", "Index", "Instruction", "Numbers", "SourceRows"]

Numbers = NDArray[np.floating]
"""Values as a block holds them: of single or double precision, in an array of NumPy's or of a device."""

Index = NDArray[np.integer] | None
"""Numbers of rows or columns, in an array that broadcasts with the values; None where nothing depends on them."""


class SourceRows(ABC):
    """Numbers by row that follow from the rows of the source, and are made when a block needs them."""

    @abstractmethod
    def at(self, source_rows: NDArray[np.intp]) -> Numbers:
        """Return the numbers of some rows of the source."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Instruction(ABC):
    """One elementwise operation, with its parameters.

    Parameters
    ----------
    row
        Parameters by row, `(n_rows, ...)`; None without any.
    column
        Parameters by column, `(..., n_columns)`; None without any.
    only_rows
        If given, `(n_rows,)` booleans: other rows are left alone.
    single
        Whether the result is held in single precision.
    keeps_zeros
        Whether zeros that are not stored stay zeros whatever becomes of them, as those of a sparse matrix.
    whole_rows
        Whether the parameters of a row apply to its zeros too, as in an array: with some, these become others.
    """

    row: Values | SourceRows | None = None
    column: NDArray[np.number] | None = None
    only_rows: NDArray[np.bool_] | None = None
    single: bool = False
    keeps_zeros: bool = False
    whole_rows: bool = False

    @abstractmethod
    def compute(self, xp: ModuleType, values: Numbers, rows: Index, columns: Index) -> Values:
        """Return what becomes of values at `rows` and `columns`, as the functions of a package of arrays give it.

        Parameters
        ----------
        xp
            The package: ``numpy`` or ``cupy``.
        values, rows, columns
            Arrays that broadcast; rows and columns are those of the parameters.
        """

    def compiled(self, values: Numbers) -> Values | None:
        """Return the same for all values of a dense block by a compiled loop; None without one."""
        return None

    def lacking(self, xp: ModuleType) -> str:
        """Return the name of what a package of arrays lacks to run this on a device; nothing if it has all."""
        return ""

    @property
    def parameters(self) -> tuple[Any, Any]:
        """Parameters by row, those of :meth:`for_rows`, and by column."""
        return self.row, self.column

    @property
    def varies(self) -> bool:
        """True if the operation differs from row to row."""
        return self.row is not None or self.only_rows is not None

    def for_rows(self, positions: slice | NDArray[np.intp], source_rows: NDArray[np.intp]) -> Self:
        """Return the same for the rows at `positions` of the matrix, which are `source_rows` of its source."""
        if not self.varies:
            return self
        row = self.row.at(source_rows) if isinstance(self.row, SourceRows) else _some(self.row, positions)
        return replace(self, row=row, only_rows=_some(self.only_rows, positions))

    def apply(
        self, xp: ModuleType, values: Numbers, rows: Index, columns: Index, *, stored: bool = True, loops: bool = False
    ) -> Numbers:
        """Return what becomes of values, as :meth:`compute` has it, in the precision in which it is held.

        Parameters
        ----------
        xp, values, rows, columns
            As of :meth:`compute`.
        stored
            Whether the values are stored, or zeros that are not.
        loops
            Whether to use compiled loops, which take NumPy's arrays.
        """
        computed = self.compiled(values) if loops else None
        computed = self.compute(xp, values, rows, columns) if computed is None else computed
        new: Numbers = computed.astype(np.float32 if self.single else np.float64, copy=False)
        if self.keeps_zeros and not stored:
            new = xp.where(values == 0, xp.zeros_like(new), new)
        return new if self.only_rows is None else xp.where(self.only_rows[rows], new, values)


@dataclass(frozen=True, eq=False)
class Call(Instruction):
    """A ufunc of the value and at most one operand: `scalar`, or that of its row or column.

    Parameters
    ----------
    ufunc
        Name of the ufunc in NumPy.
    scalar
        One operand for all values.
    given
        Dtypes to which values are cast before, one after the other; none if they are given as they are held.
    reflected
        Whether the operand comes first.
    """

    ufunc: str
    scalar: float | np.number | None = None
    given: tuple[np.dtype, ...] = ()
    reflected: bool = False

    def compute(self, xp: ModuleType, values: Numbers, rows: Index, columns: Index) -> Values:
        return self.call(xp, values, self.operand(xp, rows, columns))

    def operand(self, xp: ModuleType, rows: Index, columns: Index) -> Any:
        """Return the operand of values at some rows and columns."""
        row, column = self.parameters
        return row[rows] if row is not None else self.scalar if column is None else column[columns]

    def call(self, xp: ModuleType, values: Numbers, operand: object) -> Values:
        """Call the ufunc."""
        value = reduce(lambda x, dtype: x.astype(dtype, copy=False), self.given, values)
        operands = (value,) if operand is None else (operand, value) if self.reflected else (value, operand)
        return getattr(xp, self.ufunc)(*operands)

    def lacking(self, xp: ModuleType) -> str:
        return "" if hasattr(xp, self.ufunc) else self.ufunc


def _some(parameters: NDArray[P] | None, positions: slice | NDArray[np.intp]) -> NDArray[P] | None:
    return None if parameters is None else parameters[positions]
