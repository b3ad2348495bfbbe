"""The interface of array implementations: reductions on arrays that may be NumPy's or CuPy's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from .device.block import ArrayBlock
    from .device.device import Array, Device
    from .reduction import Reduction

    AnyImplementation: TypeAlias = "ArrayImplementation[Any, Any]"

__all__ = ["ArrayImplementation", "ArraySums", "SummedImplementation", "add_up", "implements"]

S = TypeVar("S")
"""Spec of a reduction."""

P = TypeVar("P")
"""Its partial result on the host."""

I = TypeVar("I", bound="type[AnyImplementation]")


def implements(reduction: type[Reduction]) -> Callable[[I], I]:
    """Register a class as the array implementation of a reduction."""

    def register(implementation: I) -> I:
        reduction.on_arrays = implementation
        return implementation

    return register


class ArrayImplementation(ABC, Generic[S, P]):
    """Accumulates on a device what a reduction does on the host, whose partial result it is turned into at the end.

    Parameters
    ----------
    spec
        Parameters of the reduction, which has been prepared.
    shape
        Shape of the matrix.
    device
        Where.
    """

    takes_fill_values: ClassVar[bool] = True
    """True if it takes blocks that have fill values."""

    copies: ClassVar[int] = 3
    """Partial results that the device's memory holds at a time."""

    def __init__(self, spec: S, shape: tuple[int, int], device: Device) -> None:
        self.spec = spec
        self.matrix_shape = shape
        self.device = device
        self.xp = device.xp

    @classmethod
    def covers(cls, spec: S) -> bool:
        """Return whether it computes the same as the reduction, by parameters that are known before `prepare`."""
        return True

    def wants_all_values(self, block: ArrayBlock) -> bool:
        """Return whether it must be given this block with all its values stored."""
        return block.fill_values is not None and not self.takes_fill_values

    def begin(self, host: P) -> None:
        """Allocate what is accumulated; `host` is an empty partial result of the reduction, on the host."""
        self.host = host

    @abstractmethod
    def update(self, block: ArrayBlock) -> None:
        """Add a block. What may find no memory comes before what changes the state, in one step at the end."""

    def scatter(self, out: Array, places: Array, values: Array) -> None:
        """Add each value to its place of `out`, in their order where the device has one; some after others, if need be.

        So that nothing is added twice where there is no room for what comes after it.
        """
        try:
            self.xp.add.at(out, places, values)
        except MemoryError:
            if places.size < 2:
                raise
            self.device.recover()
            for some in (slice(None, places.size // 2), slice(places.size // 2, None)):
                self.scatter(out, places[some], values[some])

    def end_task(self) -> None:
        """Take note that a task ends, whose partial result is merged with those before in its group."""

    def end_group(self) -> None:
        """Take note that a group of tasks ends, whose partial result is merged with those of the groups before."""

    def finish(self) -> P:
        """Return the partial result that the reduction would have on the host."""
        return self.host

    def fetched(self, array: Array) -> NDArray[Any]:
        """Copy an array to the host, and wait for it."""
        found = self.device.fetch(array)
        self.device.mark()()
        return found

    def result(self, total: P, on_host: Callable[[P], object]) -> object:
        """Return what was asked for, as `on_host` finds it unless the device helps."""
        return on_host(total)

    def workspace_nbytes(self) -> int:
        """Bytes of the device's memory that it takes beside partial results and its share of blocks."""
        return 0


def add_up(xp: ModuleType, places: Array, values: Array, n: int) -> Array:
    """Add up values by their places, `(n,)`, one after the other where the device adds in order."""
    out = xp.zeros(n)
    xp.add.at(out, places, values)
    return out


class SummedImplementation(ArrayImplementation[S, P]):
    """Sums up arrays: within a task one entry after the other, then task by task and group by group, as on the host.

    So sums are rounded as they are there, where the device adds in order, whatever the size of blocks.
    """

    @abstractmethod
    def sums_shape(self) -> tuple[int, ...]:
        """Return the shape of what is summed up."""

    def begin(self, host: P) -> None:
        super().begin(host)
        self.partial = self.xp.zeros(self.sums_shape())
        self.group: Array | None = None
        self.total: Array | None = None

    def end_task(self) -> None:
        if self.group is None:
            self.group = self.partial
            self.partial = self.xp.zeros(self.sums_shape())
        else:
            self.group += self.partial
            self.partial[...] = 0

    def end_group(self) -> None:
        if self.total is None:
            self.total, self.group = self.group, None
        elif self.group is not None:
            self.total += self.group
            self.group = None

    def summed(self) -> NDArray[np.float64]:
        """Return the sum of all tasks, on the host."""
        group = self.partial if self.group is None else self.group + self.partial
        return self.fetched(group if self.total is None else self.total + group)


class ArraySums(SummedImplementation[S, "NDArray[np.generic]"]):
    """Sums up an array that is the partial result."""

    def sums_shape(self) -> tuple[int, ...]:
        return self.host.shape

    def finish(self) -> NDArray[np.generic]:
        return self.summed()
