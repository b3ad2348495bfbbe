"""Changes in place: the same object, under all its names, shows other values afterwards.

A change of each value by itself becomes a step of the chain. Any other is made in memory, within the budget, which is
said; what results is kept in compact form.
"""

from __future__ import annotations

import importlib
import operator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import sparse

from ...messages import asked_by_library, warn_user
from ..methods.base import Mixin, no_attribute
from ..methods.in_memory import holds_arrays
from ..methods.materialize import materialised
from ..methods.operands import is_scalar
from ..protocol import engine
from ..transforms import Cast
from ..transforms.conditional import Where, as_value, steps_since
from ..transforms.representation import DropZeros
from .places import places_of
from .stored_values import HeldValues, StoredValues
from .turns import one_at_a_time

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from ..methods.base import Result
    from ..oommatrix import OOMMatrix
    from ..transforms import Transform

__all__ = ["Changes"]

IN_PLACE = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")

_OF_SPARSE = {"mul", "truediv"}
"""Operators that SciPy's matrices do in place with a number; others make another matrix."""

_VIEWS = "scanpy_oom.matrix.interop.anndata"
"""The module that knows views of anndata; it imports this one: named, not imported."""

_REASON = "this change cannot wait until values are read"

_DENSIFIED = (
    "Trying to set a dense array with a sparse array on a view. Densifying the sparse array. "
    "This may incur excessive memory usage"
)


class Changes(Mixin):
    """Changes of an :class:`~scanpy_oom.matrix.OOMMatrix` in place."""

    _shown_data: list[weakref.ref[StoredValues]] = []  # noqa: RUF012 - replaced, never added to
    """``X.data`` in the hands of scripts; it keeps its values where the matrix gets another array."""

    _view: tuple[Any, ...] | None = None
    """The AnnData and place of which this is the matrix of a view, as anndata has it; None if it is none."""

    def become(self, other: OOMMatrix) -> None:
        """Take over the state of a matrix of the same shape."""
        raise NotImplementedError

    def transform(self, step: Transform) -> OOMMatrix:
        """Return this matrix with one more lazy step."""
        raise NotImplementedError

    @one_at_a_time
    def __setitem__(self, index: object, value: Any) -> None:
        if self._view is not None:
            importlib.import_module(_VIEWS).change_view(self._view, index, value)
            return
        matrix, steps = self._matrix, self._condition(index)
        number = as_value(value, self.dtype) if steps is not None and is_scalar(value) else None
        drops = self._state.chain.drops_zeros and number == 0  # these would be stored
        if steps is not None and number is not None and not drops:
            self.become(self.transform(Where(steps, number)))
            return
        index = index.to_memory() if isinstance(index, Changes) else index
        value = value.to_memory() if isinstance(value, Changes) else value
        if self.is_dense and sparse.issparse(value):
            warn_user(_DENSIFIED)  # as anndata, where a script sets X of a view
            value = value.toarray()
        kind = sparse.csr_array if holds_arrays(matrix.source) else sparse.csr_matrix
        places = places_of(index, value, self.shape, self.dtype, dense=self.is_dense, kind=kind)
        if places is not None:
            self.become(engine().assigned(matrix, places))
            return
        self.change_in_memory(lambda values: operator.setitem(values, index, value), "X[...] = ...")

    def _condition(self, index: object) -> tuple[Transform, ...] | None:
        """Return the steps that make booleans of this matrix's own values, if an index is such; else None."""
        if not isinstance(index, Changes) or index.dtype != bool:
            return None
        return steps_since(self._matrix, cast("OOMMatrix", index))

    @one_at_a_time
    def change_in_memory(self, change: Callable[[Any], object], what: str) -> None:
        """Bring the values into memory, have them changed there, and keep what results in place of what was.

        Parameters
        ----------
        change
            Changes the values in place, or returns others.
        what
            What was asked for, as in ``"X.setdiag"``.

        Raises
        ------
        MemoryBudgetExceeded
            If they take more than ``settings.memory_limit``.
        """
        matrix = self._matrix
        engine().announce(what, matrix, matrix.nbytes_in_memory, _REASON)
        with materialised(what, matrix) as made:
            values = made(matrix._values())
            changed = change(values)
        self.become(engine().keep_changed(values if changed is None else changed, matrix))

    # -- what SciPy's matrices do in place

    def eliminate_zeros(self) -> None:
        """Store no zeros any more; lazy."""
        matrix = self._matrix
        drops = bool(matrix.chain.transforms) and isinstance(matrix.chain.transforms[-1], DropZeros)
        if not matrix.stores_no_zeros and not drops:
            self.become(self.transform(DropZeros()))

    def setdiag(self, values: object, k: int = 0) -> None:
        """Set a diagonal, in memory."""
        if self.is_dense:
            raise no_attribute(self._matrix, "setdiag")
        self.change_in_memory(lambda held: held.setdiag(values, k), "X.setdiag")

    def fill(self, value: object) -> None:
        """Set all values of a dense matrix to a number; lazy."""
        if not self.is_dense:
            raise no_attribute(self._matrix, "fill")
        number = as_value(value, self.dtype)
        if number is None:
            self.change_in_memory(lambda values: values.fill(value), "X.fill")
        else:
            self.become(self.transform(Where((), number)))

    def _change_array(self, name: str, *args: object, **kwargs: object) -> None:
        if not self.is_dense:
            raise no_attribute(self._matrix, name)
        self.change_in_memory(lambda values: getattr(values, name)(*args, **kwargs), f"X.{name}")

    def sort(self, *args: object, **kwargs: object) -> None:
        """Sort the values of a dense matrix, in memory."""
        self._change_array("sort", *args, **kwargs)

    def partition(self, *args: object, **kwargs: object) -> None:
        """Sort the values of a dense matrix in part, in memory."""
        self._change_array("partition", *args, **kwargs)

    def put(self, indices: object, values: object, mode: str = "raise") -> None:
        """Put values at places of a dense matrix, counted row by row, in memory."""
        self._change_array("put", indices, values, mode)

    @property
    def data(self) -> StoredValues | HeldValues:
        """The stored values, row by row (of a column-compressed matrix, column by column); lazy.

        Libraries hand them to compiled code, which takes nothing but arrays: for these, they are brought into memory.
        """
        if self.is_dense:
            raise no_attribute(self._matrix, "data")
        stored = StoredValues(self._matrix)
        return HeldValues(stored) if asked_by_library() else stored

    @data.setter
    def data(self, values: object) -> None:
        if self.is_dense:
            raise no_attribute(self._matrix, "data")
        StoredValues(self._matrix).replace(values)

    @one_at_a_time
    def _in_place(self, name: str, other: Any) -> object:
        """Run an operator in place, as ``X += 1``."""
        if not self.is_dense:
            return self._in_place_sparse(name, other) if name in _OF_SPARSE and is_scalar(other) else NotImplemented
        if sparse.issparse(other):
            return NotImplemented  # another matrix, in NumPy and SciPy too
        # NumPy says which types do not go into the array as it is
        probe = np.ones((1, 1), self.dtype)
        if name != "matmul":
            operand = other if is_scalar(other) else np.ones((1, 1), np.asanyarray(other).dtype)
            getattr(operator, f"i{name}")(probe, operand)
        self.take_values_of(getattr(operator, f"__{name}__")(self, other))
        return self

    def take_values_of(self, result: Result) -> None:
        """Show the values of another matrix or array, in the dtype that this one has.

        Raises
        ------
        ValueError
            If it has another shape.
        TypeError
            If its values do not go into this dtype, as floating-point numbers into integers.
        """
        if result.shape != self.shape:
            msg = f"non-broadcastable output operand with shape {self.shape} doesn't match the shape {result.shape}"
            raise ValueError(msg)
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            msg = f"Cannot cast output from {result.dtype!r} to {self.dtype!r} with casting rule 'same_kind'"
            raise TypeError(msg)
        if not isinstance(result, Changes):
            result = engine().keep_changed(result.astype(self.dtype, copy=False), self._matrix)
        elif result.dtype != self.dtype:
            result = result.transform(Cast(self.dtype))
        self.become(cast("OOMMatrix", result))

    def _in_place_sparse(self, name: str, other: Any) -> object:
        if name == "truediv":
            other = 1.0 / other
        stored: Any = StoredValues(self._matrix)
        np.multiply(stored, other, out=stored)
        return self


def _operator(name: str) -> Callable[[Changes, object], object]:
    def method(self: Changes, other: object) -> object:
        return self._in_place(name, other)

    return method


for _name in IN_PLACE:
    setattr(Changes, f"__i{_name}__", _operator(_name))
