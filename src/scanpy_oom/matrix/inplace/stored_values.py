"""``X.data``: the stored values of a matrix out of memory."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ...storage.sources.base import is_supported_dtype
from ..methods.operands import COMPARISONS, OPERATORS, apply, is_scalar
from ..methods.sparse_arrays import forget_arrays, stored_array
from ..transforms import Cast, Elementwise
from ..transforms.conditional import Where, as_value, steps_since
from .turns import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import DTypeLike
    from scipy import sparse

    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix
    from ..transforms import Transform

__all__ = ["HeldValues", "StoredValues"]


class StoredValues:
    """An array of the values that a sparse matrix stores, which are read when they are needed.

    What is done to each value by itself is lazy: ufuncs with at most one number beside them, comparisons, `astype`.
    Changes in place change the matrix. For anything else it is an array in memory, within ``settings.memory_limit``.

    Parameters
    ----------
    matrix
        The matrix.
    """

    __array_priority__ = 100.0
    ndim = 1

    def __init__(self, matrix: OOMMatrix) -> None:
        self.matrix = matrix
        matrix._shown_data = [ref for ref in matrix._shown_data if ref() is not None] + [weakref.ref(self)]

    # -- what it is

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values."""
        return self.matrix.dtype

    @property
    def size(self) -> int:
        """Count of stored values."""
        return self.matrix.nnz

    @property
    def shape(self) -> tuple[int]:
        """Count of stored values, as the length of the one axis."""
        return (self.size,)

    @property
    def nbytes(self) -> int:
        """Bytes that an array of them takes."""
        return self.size * self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"StoredValues of {self.matrix!r}"

    # -- in memory

    def in_memory(self, what: str = "X.data") -> Values:
        """Bring the values into memory; what is done to the array is done to it alone, so that it is read-only."""
        return stored_array(self.matrix, "data", what)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Values:  # noqa: FBT001
        if copy is False:
            msg = "Unable to avoid copy: the values of a matrix on disk have to be read."
            raise ValueError(msg)
        array = self.in_memory()
        if copy:
            return np.array(array, dtype)
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: object) -> StoredValues | Values | np.number:
        if index is Ellipsis or (isinstance(index, slice) and index == slice(None)):
            return self
        part = self.in_memory("X.data[...]")[_index(index)]
        return part.copy() if isinstance(part, np.ndarray) else part

    def __iter__(self) -> Iterator[np.number]:
        return iter(self.in_memory())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(np.ndarray, name):
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(self.in_memory(f"X.data.{name}"), name)

    # -- lazily

    def astype(self, dtype: DTypeLike, *args: Any, **kwargs: Any) -> StoredValues | Values:
        """Change the dtype; lazy where sparse matrices have it."""
        dtype = np.dtype(dtype)
        if not is_supported_dtype(dtype) or dtype == np.float16:
            return self.in_memory("X.data.astype").astype(dtype, *args, **kwargs)
        return StoredValues(self.matrix.copy() if dtype == self.dtype else self.matrix.transform(Cast(dtype)))

    def copy(self, order: str = "C") -> StoredValues:
        """Return the same values, which change by themselves."""
        return StoredValues(self.matrix.copy())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: object) -> object:
        if method == "at":
            return inputs[0]._change_at(ufunc, *inputs[1:])
        result = self._applied(ufunc, inputs) if method == "__call__" and not kwargs else None
        if out is None:
            return _run_on_arrays(ufunc, method, inputs, kwargs) if result is None else result
        (target,) = out
        if result is None or not isinstance(target, StoredValues):
            array = np.array(target) if isinstance(target, StoredValues) else target
            result = _run_on_arrays(ufunc, method, inputs, {**kwargs, "out": (array,)})
        if isinstance(target, StoredValues):
            target._take(result)
        return target

    def _change_at(self, ufunc: np.ufunc, *operands: object) -> None:
        """Run a ufunc at some places, one after the other."""
        array = np.array(self)
        ufunc.at(array, *map(_index, operands))
        self._take(array)

    def _applied(self, ufunc: np.ufunc, inputs: tuple[Any, ...]) -> StoredValues | None:
        """Return what a ufunc of values and at most one number gives, lazily; None if it is no such."""
        others = [value for value in inputs if value is not self]
        if (
            self.matrix.chain.drops_zeros
            or len(inputs) > 2
            or ufunc.nout != 1
            or not all(is_scalar(value) for value in others)
        ):
            return None
        if (len(inputs) == 2 and not others) or getattr(np, ufunc.__name__, None) is not ufunc:
            return None
        operand = others[0] if others else None
        reflected = bool(others) and inputs[0] is not self
        one = np.ones(1, self.dtype)
        with np.errstate(all="ignore"):
            dtype = (ufunc(one) if operand is None else apply(ufunc, one, operand, reflected=reflected)).dtype
        if not is_supported_dtype(dtype) or dtype == np.float16:
            return None
        scalar: Any = operand if operand is None or np.isscalar(operand) else operand[()]
        step = Elementwise(ufunc.__name__, scalar, dtype, reflected, keeps_zeros=True)
        return StoredValues(self.matrix.transform(step))

    # -- in place

    @one_at_a_time
    def __setitem__(self, index: object, value: object) -> None:
        steps = self._condition(index)
        number = as_value(value, self.dtype) if steps is not None and is_scalar(value) else None
        if steps is not None and number is not None:
            self.matrix.become(self.matrix.transform(Where(steps, number, keeps_zeros=True)))
        elif steps == ():
            self._take(value)
        else:
            index, value = _index(index), _index(value)

            def change(held: sparse.csr_matrix) -> None:
                held.data[index] = value

            self.matrix.change_in_memory(change, "X.data[...] = ...")

    def _condition(self, index: object) -> tuple[Transform, ...] | None:
        if self.matrix.chain.drops_zeros:
            return None  # what is stored is known when it is read
        if index is Ellipsis or (isinstance(index, slice) and index == slice(None)):
            return ()
        if not isinstance(index, StoredValues) or index.dtype != bool:
            return None
        return steps_since(self.matrix, index.matrix)

    def _take(self, values: object) -> None:
        """Put values in the place of these, in the dtype that these have."""
        dtype = self.dtype
        if isinstance(values, StoredValues):
            if not np.can_cast(values.dtype, dtype, "same_kind"):
                msg = f"Cannot cast array data from {values.dtype!r} to {dtype!r} according to the rule 'same_kind'"
                raise TypeError(msg)
            self.replace(values.astype(dtype), in_place=True)
            return
        array = np.broadcast_to(np.asarray(values), self.shape)

        def change(held: sparse.csr_matrix) -> None:
            held.data[...] = array

        self.matrix.change_in_memory(change, "X.data[...] = ...")

    @one_at_a_time
    def replace(self, values: object, *, in_place: bool = False) -> None:
        """Put other values in the place of these, which may be of another dtype.

        Parameters
        ----------
        values
            An array, or what another matrix stores.
        in_place
            Whether they are written into the array that there is: whoever holds it sees them.
        """
        if isinstance(values, StoredValues):
            if values.matrix is self.matrix:
                return
            if _are_stored_alike(values.matrix, self.matrix):
                before = self.matrix.copy()
                self.matrix.become(values.matrix)
                if not in_place:
                    self._let_go(before)
                return
            values = values.in_memory()
        values = np.array(values)  # which the caller may change later
        if values.shape != self.shape:
            msg = f"{values.size:,} values are given for a matrix that stores {self.size:,}."
            raise ValueError(msg)
        before = self.matrix.copy()

        def change(held: sparse.csr_matrix) -> sparse.csr_matrix:
            held.data = values
            return held

        self.matrix.change_in_memory(change, "X.data = ...")
        if not in_place:
            self._let_go(before)

    def _let_go(self, before: OOMMatrix) -> None:
        """Have those that were shown before keep their values: the matrix has got another array, as in memory."""
        matrix, shown = self.matrix, [ref() for ref in self.matrix._shown_data]
        for one in shown:
            if one is not None:
                one.matrix = before
        before._shown_data = matrix._shown_data
        matrix._shown_data = []
        self.matrix = matrix

    def sort(self, *args: object, **kwargs: object) -> None:
        """Sort the values, in memory."""
        self.matrix.change_in_memory(lambda held: held.data.sort(*args, **kwargs), "X.data.sort")

    def partition(self, *args: object, **kwargs: object) -> None:
        """Sort the values in part, in memory."""
        self.matrix.change_in_memory(lambda held: held.data.partition(*args, **kwargs), "X.data.partition")

    def put(self, *args: object, **kwargs: object) -> None:
        """Put values at places, in memory."""
        self.matrix.change_in_memory(lambda held: held.data.put(*args, **kwargs), "X.data.put")

    def fill(self, value: object) -> None:
        """Set all stored values to a number; lazy."""
        self[:] = value

    __hash__ = None  # type: ignore[assignment]


class HeldValues(np.ndarray):
    """The stored values as an array in memory. What is written to it is written to the matrix, too.

    Compiled code finds it read-only, so that nothing that it writes is lost in silence.
    """

    _stored: StoredValues | None

    def __new__(cls, stored: StoredValues) -> HeldValues:
        """Bring the values into memory."""
        array = stored.in_memory().view(cls)
        array._stored = stored
        return array

    def __array_finalize__(self, obj: object) -> None:
        self._stored = None  # what is taken of it, or made of it, is an array like any other

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._stored is None:
            super().__setitem__(index, value)
            return
        forget_arrays(self._stored.matrix)  # this one is changed, and whoever gets the old values back reads them
        self._stored[index] = value
        self.flags.writeable = True
        super().__setitem__(index, value)
        self.flags.writeable = False

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: object) -> object:
        if method == "at" and isinstance(inputs[0], HeldValues) and inputs[0]._stored is not None:
            array = inputs[0].view(np.ndarray).copy()
            _run_on_arrays(ufunc, method, (array, *inputs[1:]), kwargs)
            inputs[0][...] = array
            return None
        if out is None:
            return _run_on_arrays(ufunc, method, inputs, kwargs)
        (target,) = out
        array = _index(target)
        writes = isinstance(target, HeldValues) and target._stored is not None
        if writes:
            array = array.copy()
        _run_on_arrays(ufunc, method, inputs, {**kwargs, "out": (array,)})
        if writes:
            target[...] = array
        return target


def _are_stored_alike(one: OOMMatrix, other: OOMMatrix) -> bool:
    """Return whether two matrices store values at the same places: of one source, and no step has moved any."""
    same = one.source is other.source and one.selection is other.selection
    moved = any(matrix.chain.drops_zeros or matrix.chain.fill_values is not None for matrix in (one, other))
    return same and not moved


def _run_on_arrays(ufunc: np.ufunc, method: str, inputs: tuple[object, ...], kwargs: dict[str, object]) -> Any:
    """Run a ufunc on what is in memory."""
    named = {name: _index(value) for name, value in kwargs.items()}
    return getattr(ufunc, method)(*map(_index, inputs), **named)


def _index(value: Any) -> Any:
    """Return an index or a value in memory."""
    if isinstance(value, HeldValues):
        return value.view(np.ndarray)
    return np.asarray(value) if isinstance(value, StoredValues) else value


def _binary(ufunc: np.ufunc, *, reflected: bool = False) -> Callable[[StoredValues, object], object]:
    def method(self: StoredValues, other: object) -> object:
        return ufunc(other, self) if reflected else ufunc(self, other)

    return method


def _in_place(ufunc: np.ufunc) -> Callable[[StoredValues, object], object]:
    def method(self: StoredValues, other: object) -> StoredValues:
        return ufunc(self, other, out=(self,))

    return method


def _unary(ufunc: np.ufunc) -> Callable[[StoredValues], object]:
    def method(self: StoredValues) -> object:
        return ufunc(self)

    return method


for _name, _ufunc in {**OPERATORS, "mul": "multiply", "pow": "power"}.items():
    setattr(StoredValues, f"__{_name}__", _binary(getattr(np, _ufunc)))
    setattr(StoredValues, f"__r{_name}__", _binary(getattr(np, _ufunc), reflected=True))
    setattr(StoredValues, f"__i{_name}__", _in_place(getattr(np, _ufunc)))
for _name, _ufunc in COMPARISONS.items():
    setattr(StoredValues, f"__{_name}__", _binary(getattr(np, _ufunc)))
for _name, _function in {"neg": np.negative, "abs": np.absolute, "invert": np.invert, "pos": np.positive}.items():
    setattr(StoredValues, f"__{_name}__", _unary(_function))
for _name in ("sum", "mean", "min", "max", "std", "var", "any", "all", "prod"):

    def _reduced(self: StoredValues, *args: object, _name: str = _name, **kwargs: object) -> object:
        return getattr(self.in_memory(f"X.data.{_name}"), _name)(*args, **kwargs)

    setattr(StoredValues, _name, _reduced)
